#pragma once

#include <optional>
#include <string>
#include <vector>

#include "json/json_fwd.h"

namespace mlxk {

/// The mean and percentiles of a set of values; percentiles are interpolated linearly, like numpy's.
struct Percentiles {
  double mean = 0, p50 = 0, p95 = 0, p99 = 0;
};

/// nullopt if there are no values.
std::optional<Percentiles> percentiles_of(std::vector<double> values);

/// {"mean":…,"p50":…,"p95":…,"p99":…}, or null.
Json to_json(const std::optional<Percentiles>& percentiles);

/// "12.3 / 45.6 / 78.9": p50, p95 and p99 times `scale`; "–" for nullopt.
std::string percentiles_text(const std::optional<Percentiles>& percentiles, double scale);

}  // namespace mlxk
