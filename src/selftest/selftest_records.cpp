#include "selftest/selftest_records.h"

#include <algorithm>

#include "report/system.h"

namespace mlxk {

namespace {
const char* modality_of(const ModelInfo& info, const CheckResult& check) {
  return info.load_kind() == ModelKind::speech ? "audio" : check.name == "vision" ? "vision" : "text";
}
}  // namespace

std::vector<ReportRecord> selftest_records(const ModelInfo& info, const SelftestResult& result,
                                           const DeviceFacts& device, bool quick) {
  const ReportModel model = report_model(info);
  const ReportSystem system = this_system(device.mlx_version);
  const ReportHealth health = system_health();
  std::vector<ReportRecord> records;
  for (const CheckResult& check : result.checks) {
    ReportRecord record;
    record.test = "selftest::" + check.name;
    std::replace(record.test.begin(), record.test.end(), ' ', '_');
    record.outcome = check.finding.outcome;
    set_times(record, check.started, check.seconds);
    record.model = model;
    record.system = system;
    record.system_health = health;
    const bool passed = check.finding.outcome == Outcome::passed;
    if (passed && check.name == "load") record.performance.model_load_time_s = check.seconds;
    if (passed && check.name == "speed") {
      record.performance.tokens_per_sec = result.figures.tokens_per_s;
      record.performance.time_to_first_token_s = result.figures.first_token_s;
      record.performance.prompt_tokens = result.figures.prompt_tokens;
      record.performance.completion_tokens = result.figures.completion_tokens;
    }
    record.metadata = {{"inference_modality", modality_of(info, check)}, {"quick", quick}};
    if (!check.finding.reason.empty()) record.metadata["reason"] = check.finding.reason;
    if (!device.name.empty()) record.metadata["device"] = device.name;
    if (!device.kernels.empty()) record.metadata["kernels"] = device.kernels;
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace mlxk
