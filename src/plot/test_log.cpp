#include <fmt/format.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/timestamp.h"
#include "json/json.h"
#include "json/member.h"
#include "monitor/json_lines.h"
#include "plot/memory_timeline.h"

namespace mlxk {

namespace {
double number_at(const Json& object, std::string_view key) {
  const Json& value = value_at(object, key);
  return value.is_number() ? value.get<double>() : kUnknown;
}

TestSpan read_test(const Json& record) {
  TestSpan span{string_at(record, "test"), string_at(record, "outcome"), string_at(value_at(record, "model"), "id")};
  if (span.test.empty()) throw Error(ErrorKind::bad_model, "not a test record: no \"test\"");
  span.start_ts = number_at(record, "test_start_ts");
  span.end_ts = number_at(record, "test_end_ts");
  if (std::isnan(span.end_ts)) span.end_ts = parse_timestamp(string_at(record, "timestamp")).value_or(kUnknown);
  if (std::isnan(span.start_ts)) span.start_ts = span.end_ts - std::fmax(0, number_at(record, "duration"));
  if (!std::isfinite(span.start_ts) || !std::isfinite(span.end_ts)) {
    throw Error(ErrorKind::bad_model,
                fmt::format("timestamp: not an ISO 8601 date and time: '{}'", string_at(record, "timestamp")));
  }
  if (span.end_ts < span.start_ts) throw Error(ErrorKind::bad_model, "test_end_ts is before test_start_ts");
  return span;
}
}  // namespace

TestLog read_test_log(const std::filesystem::path& path) {
  static const std::set<std::string> kVersions = {"0.2.2", "0.2.1", "0.2.0", "0.1.0"};
  TestLog log;
  LineWarnings warnings(path.string());
  std::set<std::string> strange;  // unknown versions, each reported once
  read_json_lines(path, warnings, [&](uint64_t number, std::string_view line) {
    const Json record = parse_json(line, "record");
    log.tests.push_back(read_test(record));
    log.ram_total_gb = std::fmax(log.ram_total_gb, number_at(value_at(record, "system"), "ram_total_gb"));
    const std::string version = string_at(record, "schema_version");
    if (kVersions.count(version) == 0 && strange.size() < 10 && strange.insert(version).second) {
      warnings.add(number,
                   fmt::format("schema_version '{}' is not known; the fields shared with 0.2.2 are read", version));
    }
  });
  if (log.tests.empty()) warnings.add(0, "contains no tests");
  log.warnings = warnings.texts();
  return log;
}

}  // namespace mlxk
