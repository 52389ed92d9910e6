#include "bench/bench_record.h"

#include <unistd.h>

#include <utility>

#include "base/elapsed.h"
#include "base/timestamp.h"
#include "json/api.h"
#include "report/machine_facts.h"
#include "report/system.h"
#include "terminal/output.h"

namespace mlxk {

BenchStart::BenchStart() : ts(unix_time_now()), at(std::chrono::steady_clock::now()), health(system_health()) {}

double BenchStart::elapsed() const { return seconds_since(at); }

double as_gib(uint64_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024 * 1024); }

ReportRecord bench_record(std::string test, const BenchStart& start, double begin_s, const ModelInfo& model,
                          const DeviceFacts& device, std::string_view modality) {
  ReportRecord record;
  record.test = std::move(test);
  set_times(record, start.ts + begin_s, start.elapsed() - begin_s);
  record.model = report_model(model);
  record.performance.peak_ram_gb = as_gib(peak_memory());
  if (const uint64_t held = process_memory(getpid()).held; held > 0) record.performance.stable_ram_gb = as_gib(held);
  record.system = this_system(device.mlx_version);
  record.system_health = start.health;
  record.metadata = {{"inference_modality", modality}, {"device", device.name}, {"kernels", device.kernels}};
  return record;
}

void print_bench_json(const std::string& command, const std::string& model, double load_s, Json results) {
  print_json(success_envelope(
      command, {{"model", model}, {"load_s", load_s}, {"peak_bytes", peak_memory()}, {"results", std::move(results)}}));
}

}  // namespace mlxk
