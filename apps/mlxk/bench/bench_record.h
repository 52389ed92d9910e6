#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/json.h"
#include "probe/model_info.h"
#include "report/record.h"
#include "worker/facts.h"

namespace mlxk {

/// The start of a benchmark: its time and the machine's health.
struct BenchStart {
  BenchStart();
  double ts;  // Unix time
  std::chrono::steady_clock::time_point at;
  ReportHealth health;

  /// Seconds since the start.
  double elapsed() const;
};

/// The record of a point that ran from `begin_s` (seconds after the start; 0: it includes the load) until now. The
/// memory is this process's: its peak and its current use.
ReportRecord bench_record(std::string test, const BenchStart& start, double begin_s, const ModelInfo& model,
                          const DeviceFacts& device, std::string_view modality);

/// Bytes as GiB.
double as_gib(uint64_t bytes);

/// Prints the --json document of the benchmark `command`, whose model this process loaded in `load_s` seconds.
/// `results` is the array of the points' results.
void print_bench_json(const std::string& command, const std::string& model, double load_s, Json results);

/// The same; `point_json` returns the result of a point.
template <typename Point>
void print_bench_json(const std::string& command, const std::string& model, double load_s,
                      const std::vector<Point>& points, Json (*point_json)(const Point&)) {
  Json results = Json::array();
  for (const Point& point : points) results.push_back(point_json(point));
  print_bench_json(command, model, load_s, std::move(results));
}

}  // namespace mlxk
