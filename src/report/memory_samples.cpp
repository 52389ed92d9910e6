#include "report/memory_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr double kGpuWorks = 10;  // percent

double number_at(const Json& object, const char* key) {
  const Json& value = value_at(object, key);
  return value.is_number() ? value.get<double>() : kNone;
}

/// A sample or the summary at the end; throws bad_model for anything else.
std::optional<ReportMemory> read_sample(const LineReader& lines) {
  if (lines.is_too_long()) throw Error(ErrorKind::bad_model, "the line is too long for a sample");
  const Json object = parse_json(lines.text(), "");
  if (object.is_object() && object.contains("summary")) return std::nullopt;
  const double ts = number_at(object, "ts");
  if (!std::isfinite(ts)) throw Error(ErrorKind::bad_model, "ts: must be a number");
  return ReportMemory{ts, number_at(object, "ram_free_gb"), number_at(object, "swap_used_mb"),
                      number_at(object, "gpu_device_util")};
}

}  // namespace

MemorySamples::MemorySamples(const std::filesystem::path& path,
                             const std::function<void(const LineProblem&)>& on_problem) {
  LineReader lines(path);
  while (lines.next()) {
    if (lines.text().find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      if (const auto sample = read_sample(lines)) samples_.push_back(*sample);
    } catch (const Error& error) {
      std::string what = error.what();
      if (what.starts_with(": ")) what.erase(0, 2);  // after the empty location
      on_problem({lines.number(), "", lines.is_complete() ? what : "the last line is cut off: " + what});
    }
  }
  std::stable_sort(samples_.begin(), samples_.end(), [](const auto& a, const auto& b) { return a.ts < b.ts; });
}

MemoryWindow MemorySamples::window(double from, double to) const {
  MemoryWindow window{0, kNone, kNone, kNone, kNone, kNone};
  const auto begin =
      std::lower_bound(samples_.begin(), samples_.end(), from, [](const auto& s, double ts) { return s.ts < ts; });
  double gpu_sum = 0;
  size_t gpu_count = 0;
  for (auto sample = begin; sample != samples_.end() && sample->ts <= to; ++sample) {
    ++window.samples;
    // fmin and fmax ignore NaN.
    window.ram_free_min_gb = std::fmin(window.ram_free_min_gb, sample->ram_free_gb);
    window.swap_max_mb = std::fmax(window.swap_max_mb, sample->swap_used_mb);
    window.gpu_max = std::fmax(window.gpu_max, sample->gpu_util);
    if (std::isnan(sample->gpu_util)) continue;
    gpu_sum += sample->gpu_util;
    ++gpu_count;
    if (std::isnan(window.gpu_start_s) && sample->gpu_util >= kGpuWorks) window.gpu_start_s = sample->ts - from;
  }
  if (gpu_count > 0) window.gpu_mean = gpu_sum / static_cast<double>(gpu_count);
  return window;
}

}  // namespace mlxk
