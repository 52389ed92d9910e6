#pragma once

#include <optional>
#include <string>

namespace mlxk {

/// The current Unix time in seconds.
double unix_time_now();

/// The current time as "2026-01-31T23:59:59Z".
std::string utc_now();

/// Unix time as "2026-01-31T12:00:00.123Z".
std::string iso_timestamp(double unix_time);

/// The Unix time of an ISO 8601 date and time; without a zone it is in UTC. nullopt if `text` is not valid.
std::optional<double> parse_timestamp(const std::string& text);

}  // namespace mlxk
