#include "report/summary.h"

#include <algorithm>
#include <cmath>

#include "json/member.h"
#include "report/memory_window.h"

namespace mlxk {

namespace {

constexpr size_t kMaxListed = 200;     // of failed tests, cold starts, busy tests
constexpr size_t kMaxTimeline = 1000;  // tests in the memory timeline
constexpr double kBusy = 80;           // percent of the GPU

void count(OutcomeCounts& counts, Outcome outcome) {
  ++(outcome == Outcome::passed ? counts.passed : outcome == Outcome::failed ? counts.failed : counts.skipped);
}

void keep_smaller(std::optional<double>& kept, const std::optional<double>& value) {
  if (value && (!kept || *value < *kept)) kept = value;
}

void keep_larger(std::optional<double>& kept, const std::optional<double>& value) {
  if (value && (!kept || *value > *kept)) kept = value;
}

/// A short description of the machine.
std::string machine_of(const ReportSystem& system) {
  std::string machine = system.hardware_profile.chip.empty() ? system.hardware : system.hardware_profile.chip;
  const auto append = [&](const std::string& text) {
    if (text.empty()) return;
    if (!machine.empty()) machine += ", ";
    machine += text;
  };
  if (system.ram_total_gb) append(std::to_string(std::llround(*system.ram_total_gb)) + " GiB");
  append(system.platform_version.empty() ? system.platform : system.platform_version);
  return machine;
}

}  // namespace

void ReportSummary::read(const std::filesystem::path& path, const ReportReader::OnProblem& on_problem) {
  InputSummary input;
  input.path = path.string();
  int64_t last_bad = 0;
  ReportReader reader(path, [&](const LineProblem& problem) {
    if (problem.line != last_bad) ++input.bad_lines;
    last_bad = problem.line;
    on_problem(problem);
  });
  last_model_.reset();
  while (const auto record = reader.next()) {
    ++input.records;
    if (const auto span = test_span(*record)) {
      keep_smaller(input.first_ts, span->start);
      keep_larger(input.last_ts, span->end);
    }
    add(*record);
  }
  inputs.push_back(std::move(input));
}

void ReportSummary::add(const ReportRecord& record) {
  const TestKey key{record.test, record.model.id};
  TestSummary& test = tests[key];
  ModelSummary& model = models[record.model.id];
  if (model.outcomes.all() == 0) model.model = record.model;
  for (OutcomeCounts* counts : {&outcomes, &test.outcomes, &model.outcomes}) count(*counts, record.outcome);
  if (record.outcome == Outcome::failed && failed.size() < kMaxListed) failed.push_back(key);
  versions.insert(record.mlx_knife_version);
  schema_versions.insert(record.schema_version);
  if (std::string machine = machine_of(record.system); !machine.empty()) machines.insert(std::move(machine));
  add_health(record);
  if (record.outcome == Outcome::skipped) return;

  const double took = record.duration.value_or(0);
  seconds += took;
  model.seconds += took;
  test.seconds.add(record.duration);
  const ReportPerformance& performance = record.performance;
  for (Mean* mean : {&test.tokens_per_sec, &model.tokens_per_sec}) mean->add(performance.tokens_per_sec);
  for (Mean* mean : {&test.first_token_s, &model.first_token_s}) mean->add(performance.time_to_first_token_s);
  model.load_s.add(performance.model_load_time_s);
  keep_larger(model.peak_ram_gb, performance.peak_ram_gb);
  if (const std::string modality = string_at(record.metadata, "inference_modality"); !modality.empty()) {
    ++model.modalities[modality];
  }
  if (memory_) add_memory(record, model);
}

void ReportSummary::add_health(const ReportRecord& record) {
  for (const auto& flag : record.system_health.quality_flags) ++quality[flag];
  keep_smaller(ram_free_min_gb, record.system_health.ram_free_gb);
  keep_larger(swap_max_gb, record.system_health.swap_gb);
  zombies = std::max(zombies, record.system_health.zombies_detected.value_or(0));
  if (!clock_problem(record).empty()) ++clock_problems;
}

void ReportSummary::add_memory(const ReportRecord& record, ModelSummary& model) {
  const bool cold = !record.model.id.empty() && last_model_ != record.model.id;
  if (!record.model.id.empty()) last_model_ = record.model.id;
  const auto span = test_span(record);
  if (!span) return;
  const MemoryWindow window = memory_window(*memory_, span->start, span->end);
  if (window.samples == 0) return;
  ++tests_with_samples;
  if (timeline_tests.tests.size() < kMaxTimeline) {
    const char* outcome = record.outcome == Outcome::passed ? "passed" : "failed";
    timeline_tests.tests.push_back({record.test, outcome, record.model.id, span->start, span->end});
  }
  if (!std::isnan(window.ram_free_min_gb)) keep_smaller(model.ram_free_min_gb, window.ram_free_min_gb);
  if (std::isnan(window.gpu_mean)) return;
  gpu.add(window.gpu_mean);
  const TestKey key{record.test, record.model.id};
  if (cold && cold_starts.size() < kMaxListed) cold_starts.push_back({key, window.gpu_start_s});
  if (window.gpu_mean >= kBusy && busy.size() < kMaxListed) busy.push_back({key, window.gpu_mean, window.gpu_max});
}

}  // namespace mlxk
