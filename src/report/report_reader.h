#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/line_reader.h"
#include "report/record.h"

namespace mlxk {

/// A problem with a line of a report: it is not a record of a known schema, or its values are impossible.
struct LineProblem {
  int64_t line = 0;
  std::string field;  // path of the field; empty: the whole line
  std::string message;
};

/// "FILE:12: performance.tokens_per_sec: must be a number, got "fast""
std::string describe(const std::filesystem::path& path, const LineProblem& problem);

/// Reads the records of a file one by one, so that the file may be of any size. Blank lines are skipped. A line that is
/// not a record is reported to `on_problem`, once for each field, and skipped.
class ReportReader {
 public:
  using OnProblem = std::function<void(const LineProblem&)>;

  /// Throws not_found or io.
  ReportReader(const std::filesystem::path& path, OnProblem on_problem);
  /// The next record; nullopt at the end of the file.
  std::optional<ReportRecord> next();
  int64_t line() const { return lines_.number(); }

 private:
  bool is_record(Json& object);

  LineReader lines_;
  OnProblem on_problem_;
};

/// Start and end of the record's test in Unix time: its timestamps if they are plausible, else computed from one of
/// them and the duration. nullopt if the record has no time.
struct RecordSpan {
  double start = 0, end = 0;
};
std::optional<RecordSpan> test_span(const ReportRecord& record);

/// Describes a contradiction between the record's times; empty: none. The record is still valid, since the clock may
/// have been set while the test ran.
std::string clock_problem(const ReportRecord& record);

}  // namespace mlxk
