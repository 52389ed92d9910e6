#pragma once

#include <optional>
#include <string>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

/// What many values of one kind say; percentiles lie between two values as numpy's do.
struct Percentiles {
  double mean = 0, p50 = 0, p95 = 0, p99 = 0;
};

/// Nothing when there are no values.
std::optional<Percentiles> percentiles_of(std::vector<double> values);

/// {"mean":…,"p50":…,"p95":…,"p99":…}, or null.
Json to_json(const std::optional<Percentiles>& percentiles);

/// "12.3 / 45.6 / 78.9": p50, p95 and p99 times `scale`; "–": nothing.
std::string percentiles_text(const std::optional<Percentiles>& percentiles, double scale);

}  // namespace mlxk
