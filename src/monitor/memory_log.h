#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "json/json_fwd.h"
#include "monitor/memory_sample.h"

namespace mlxk {

/// Collects the summary that is the last line of MEMORY.jsonl.
class MemorySummary {
 public:
  void add(const MemorySample& sample);
  uint64_t samples() const { return samples_; }
  /// The fields of {"summary": …} that are computed from the samples.
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

/// The readable part of a file written by memmon, or by MLX Knife's memmon.
struct MemoryLog {
  std::vector<MemorySample> samples;             // `elapsed_s` ascends over the whole file
  std::vector<std::pair<double, size_t>> clock;  // ts and index of the samples that have a ts, by ts
  double ram_total_gb = kUnknown;                // the largest in any line
  std::string command;                           // from the summary
  std::vector<std::string> warnings;             // each with file and line

  /// Converts `ts`, a time of the system's clock, to the axis of elapsed_s; accounts for clocks that jumped.
  double elapsed_at(double ts) const;
};

/// Reads MEMORY.jsonl; broken or truncated lines are skipped with a warning. Throws io if the file cannot be read,
/// invalid if none of its lines is a sample.
MemoryLog read_memory_log(const std::filesystem::path& path);

}  // namespace mlxk
