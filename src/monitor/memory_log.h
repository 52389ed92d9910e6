#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "json/json_fwd.h"
#include "monitor/memory_sample.h"

namespace mlxk {

/// Collects what the last line of MEMORY.jsonl says.
class MemorySummary {
 public:
  void add(const MemorySample& sample);
  uint64_t samples() const { return samples_; }
  /// The fields of {"summary": …} that follow from the samples.
  Json json() const;

 private:
  struct Extent {
    double low = kUnknown, high = kUnknown, sum = 0;
    uint64_t count = 0;
    void add(double value);
    Json average(int decimals) const;
  };
  uint64_t samples_ = 0;
  double ram_total_ = kUnknown, last_read_ = kUnknown;
  Extent free_, swap_, load_, user_, system_, device_, renderer_, rss_, pss_, gpu_memory_;
};

/// A file of memmon, or of MLX Knife's, as far as it can be read.
struct MemoryLog {
  std::vector<MemorySample> samples;             // `elapsed_s` ascends over the whole file
  std::vector<std::pair<double, double>> clock;  // ts and elapsed_s of the samples, by ts
  double ram_total_gb = kUnknown;                // the largest that a line names
  std::string command;                           // of the summary
  std::vector<std::string> warnings;             // each names file and line

  /// The place of a moment of the system's clock on the axis of elapsed_s; clocks that jumped are followed.
  double elapsed_at(double ts) const;
};

/// Reads MEMORY.jsonl; lines that are broken or cut off are passed over with a warning. Throws io when the file cannot
/// be read, invalid when no line of it is a sample.
MemoryLog read_memory_log(const std::filesystem::path& path);

}  // namespace mlxk
