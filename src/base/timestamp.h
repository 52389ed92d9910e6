#pragma once

#include <optional>
#include <string>

namespace mlxk {

/// Seconds of Unix time.
double unix_time_now();

/// Unix time as "2026-01-31T12:00:00.123Z".
std::string iso_timestamp(double unix_time);

/// The Unix time of an ISO 8601 date and time, in UTC without a zone; nullopt if `text` is none.
std::optional<double> parse_timestamp(const std::string& text);

}  // namespace mlxk
