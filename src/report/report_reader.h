#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/line_reader.h"
#include "report/record.h"

namespace mlxk {

/// A line of a report that is no record of any known schema, or says what cannot be.
struct LineProblem {
  int64_t line = 0;
  std::string field;  // path of the field; empty: the line as a whole
  std::string message;
};

/// "FILE:12: performance.tokens_per_sec: must be a number, got "fast""
std::string describe(const std::filesystem::path& path, const LineProblem& problem);

/// Reads the records of a file one by one, whatever their number. Blank lines are passed over; a line that is no record
/// is told to `on_problem`, once for each field, and passed over too.
class ReportReader {
 public:
  using OnProblem = std::function<void(const LineProblem&)>;

  /// Throws not_found or io.
  ReportReader(const std::filesystem::path& path, OnProblem on_problem);
  /// The next record; nothing at the end.
  std::optional<ReportRecord> next();
  int64_t line() const { return lines_.number(); }

 private:
  bool is_record(Json& object);

  LineReader lines_;
  OnProblem on_problem_;
};

/// Seconds of the record's test, by its timestamps where they are plausible, else by its end and duration. Nothing: it
/// does not say when it ran.
struct RecordSpan {
  double start = 0, end = 0;
};
std::optional<RecordSpan> test_span(const ReportRecord& record);

/// What the record's clocks say that cannot be; empty: nothing. A clock that was set while a test ran is no fault of
/// the record, which stays good.
std::string clock_problem(const ReportRecord& record);

}  // namespace mlxk
