#include "bench/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "json/json.h"

namespace mlxk {

namespace {
double percentile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}
}  // namespace

std::optional<Percentiles> percentiles_of(std::vector<double> values) {
  if (values.empty()) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return Percentiles{sum / static_cast<double>(values.size()), percentile(values, 0.5), percentile(values, 0.95),
                     percentile(values, 0.99)};
}

Json to_json(const std::optional<Percentiles>& percentiles) {
  if (!percentiles) return nullptr;
  return {{"mean", percentiles->mean}, {"p50", percentiles->p50}, {"p95", percentiles->p95}, {"p99", percentiles->p99}};
}

std::string percentiles_text(const std::optional<Percentiles>& percentiles, double scale) {
  if (!percentiles) return "–";
  const int digits = percentiles->p50 * scale < 10 ? 2 : 0;
  return fmt::format("{:.{}f} / {:.{}f} / {:.{}f}", percentiles->p50 * scale, digits, percentiles->p95 * scale, digits,
                     percentiles->p99 * scale, digits);
}

}  // namespace mlxk
