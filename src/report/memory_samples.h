#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "report/report_reader.h"

namespace mlxk {

/// The fields of a memmon sample that a report uses; NaN: not sampled.
struct ReportMemory {
  double ts = 0;                               // Unix time
  double ram_free_gb, swap_used_mb, gpu_util;  // GiB, MB, percent
};

/// A summary of the samples in a time span.
struct MemoryWindow {
  size_t samples = 0;
  double ram_free_min_gb, swap_max_mb, gpu_mean, gpu_max;  // NaN: not sampled
  double gpu_start_s;                                      // from the start until the GPU is first busy; NaN: never
};

/// The samples of a MEMORY.jsonl, in ascending order of time even if the clock was set back.
class MemorySamples {
 public:
  /// Reads a file line by line. A line that is not a sample is reported to `on_problem` and skipped. Throws not_found
  /// or io.
  MemorySamples(const std::filesystem::path& path, const std::function<void(const LineProblem&)>& on_problem);

  const std::vector<ReportMemory>& all() const { return samples_; }
  MemoryWindow window(double from, double to) const;

 private:
  std::vector<ReportMemory> samples_;
};

}  // namespace mlxk
