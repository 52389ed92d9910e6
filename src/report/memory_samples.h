#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "report/report_reader.h"

namespace mlxk {

/// What a report needs of a sample of memmon; NaN: not sampled.
struct ReportMemory {
  double ts = 0;                               // Unix time
  double ram_free_gb, swap_used_mb, gpu_util;  // GiB, MB, percent
};

/// What the samples of a stretch of time say.
struct MemoryWindow {
  size_t samples = 0;
  double ram_free_min_gb, swap_max_mb, gpu_mean, gpu_max;  // NaN: not sampled
  double gpu_start_s;  // from the start until the GPU first works; NaN: it never does
};

/// The samples of a MEMORY.jsonl, ascending in time, also where the clock was set back.
class MemorySamples {
 public:
  /// Reads a file line by line; a line that is no sample is told to `on_problem` and passed over. Throws not_found, io.
  MemorySamples(const std::filesystem::path& path, const std::function<void(const LineProblem&)>& on_problem);

  const std::vector<ReportMemory>& all() const { return samples_; }
  MemoryWindow window(double from, double to) const;

 private:
  std::vector<ReportMemory> samples_;
};

}  // namespace mlxk
