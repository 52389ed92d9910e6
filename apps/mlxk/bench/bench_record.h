#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "probe/model_info.h"
#include "report/record.h"
#include "worker/facts.h"

namespace mlxk {

/// When a benchmark began, and the machine's health then.
struct BenchStart {
  BenchStart();
  double ts;  // Unix time
  std::chrono::steady_clock::time_point at;
  ReportHealth health;

  /// Seconds since.
  double elapsed() const;
};

/// The record of a point that ran from `begin_s` (seconds after the start; 0: the load is part of it) until now.
/// Memory is what this process held at most, and holds.
ReportRecord bench_record(std::string test, const BenchStart& start, double begin_s, const ModelInfo& model,
                          const DeviceFacts& device, std::string_view modality);

/// Bytes as GiB.
double as_gib(uint64_t bytes);

}  // namespace mlxk
