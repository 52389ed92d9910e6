#include "report/report_reader.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "base/error.h"
#include "base/timestamp.h"
#include "report/schema.h"

namespace mlxk {

namespace {
// The end may be stored both as text and as a number, and another clock measures the duration.
constexpr double kClockTolerance = 2;  // seconds
}  // namespace

std::string describe(const std::filesystem::path& path, const LineProblem& problem) {
  return problem.field.empty()
             ? fmt::format("{}:{}: {}", path.string(), problem.line, problem.message)
             : fmt::format("{}:{}: {}: {}", path.string(), problem.line, problem.field, problem.message);
}

ReportReader::ReportReader(const std::filesystem::path& path, OnProblem on_problem)
    : lines_(path), on_problem_(std::move(on_problem)) {}

bool ReportReader::is_record(Json& object) {
  const auto fail = [&](std::string message) {
    on_problem_({lines_.number(), "", std::move(message)});
    return false;
  };
  if (lines_.is_too_long()) return fail("the line is too long for a record");
  try {
    object = parse_json(lines_.text(), "");
  } catch (const Error& error) {
    const std::string what = std::string(error.what()).substr(2);  // after the empty location
    return fail(lines_.is_complete() ? what : "the last line is cut off: " + what);
  }
  const auto problems = find_problems(object);
  for (const auto& problem : problems) on_problem_({lines_.number(), problem.field, problem.message});
  return problems.empty();
}

std::optional<ReportRecord> ReportReader::next() {
  while (lines_.next()) {
    if (lines_.text().find_first_not_of(" \t\r") == std::string::npos) continue;
    Json object;
    if (is_record(object)) return record_from_json(object);
  }
  return std::nullopt;
}

std::optional<RecordSpan> test_span(const ReportRecord& record) {
  const double duration = record.duration.value_or(0);
  if (record.test_start_ts && record.test_end_ts && clock_problem(record).empty()) {
    return RecordSpan{*record.test_start_ts, *record.test_end_ts};
  }
  if (record.test_start_ts) return RecordSpan{*record.test_start_ts, *record.test_start_ts + duration};
  const auto end = parse_timestamp(record.timestamp);
  if (!end) return std::nullopt;
  return RecordSpan{*end - duration, *end};
}

std::string clock_problem(const ReportRecord& record) {
  if (!record.test_start_ts || !record.test_end_ts) return {};
  const double span = *record.test_end_ts - *record.test_start_ts;
  if (span < 0) return fmt::format("test_end_ts is {:.3f} s before test_start_ts", -span);
  if (record.duration && std::abs(span - *record.duration) > kClockTolerance + 0.01 * *record.duration) {
    return fmt::format("test_start_ts and test_end_ts are {:.3f} s apart, but duration is {:.3f}", span,
                       *record.duration);
  }
  return {};
}

}  // namespace mlxk
