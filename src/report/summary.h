#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "plot/memory_timeline.h"
#include "report/record.h"
#include "report/report_reader.h"

namespace mlxk {

/// A running mean.
class Mean {
 public:
  void add(double value) {
    sum_ += value;
    ++count_;
  }
  void add(const std::optional<double>& value) {
    if (value) add(*value);
  }
  int64_t count() const { return count_; }
  std::optional<double> value() const {
    return count_ > 0 ? std::optional(sum_ / static_cast<double>(count_)) : std::nullopt;
  }

 private:
  double sum_ = 0;
  int64_t count_ = 0;
};

struct OutcomeCounts {
  int64_t passed = 0, failed = 0, skipped = 0;
  int64_t all() const { return passed + failed + skipped; }
};

/// All records of one test with one model. Times and speeds are those of the records that were not skipped.
struct TestSummary {
  OutcomeCounts outcomes;
  Mean seconds, tokens_per_sec, first_token_s;
};
using TestKey = std::pair<std::string, std::string>;  // test, model id

/// All records of one model.
struct ModelSummary {
  ReportModel model;  // as the first record describes it
  OutcomeCounts outcomes;
  double seconds = 0;
  std::map<std::string, int64_t> modalities;
  Mean tokens_per_sec, first_token_s, load_s;
  std::optional<double> peak_ram_gb, ram_free_min_gb;  // the latter from the memory samples
};

/// A test with another model than that of the previous record.
struct ColdStart {
  TestKey test;
  double gpu_start_s;  // until the GPU is busy; NaN: never
};
struct BusyTest {
  TestKey test;
  double gpu_mean, gpu_max;
};

/// A file that was read.
struct InputSummary {
  std::string path;
  int64_t records = 0, bad_lines = 0;
  std::optional<double> first_ts, last_ts;
};

/// Aggregates the records of one or more files. Memory use grows with the number of tests and models, not of records.
class ReportSummary {
 public:
  /// `memory`, if not null, provides the samples of each test; it must outlive the summary.
  explicit ReportSummary(const MemoryLog* memory = nullptr) : memory_(memory) {}

  /// Reads a file; lines that are not records are reported to `on_problem`. Throws not_found or io.
  void read(const std::filesystem::path& path, const ReportReader::OnProblem& on_problem);
  void add(const ReportRecord& record);

  std::vector<InputSummary> inputs;
  OutcomeCounts outcomes;
  double seconds = 0;
  std::map<TestKey, TestSummary> tests;
  std::map<std::string, ModelSummary> models;  // by id; "": tests without a model
  std::set<std::string> versions, schema_versions, machines;
  std::vector<TestKey> failed;  // only the first ones
  std::map<std::string, int64_t> quality;
  std::optional<double> ram_free_min_gb, swap_max_gb;
  int64_t zombies = 0, clock_problems = 0;
  // From the memory samples.
  TestLog timeline_tests;  // only the first ones
  std::vector<ColdStart> cold_starts;
  std::vector<BusyTest> busy;
  int64_t tests_with_samples = 0;
  Mean gpu;

 private:
  void add_health(const ReportRecord& record);
  void add_memory(const ReportRecord& record, ModelSummary& model);

  const MemoryLog* memory_;
  std::optional<std::string> last_model_;
};

}  // namespace mlxk
