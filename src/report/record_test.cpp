#include "report/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/testing/test_paths.h"
#include "json/member.h"
#include "report/machine_facts.h"
#include "report/report_reader.h"
#include "report/schema.h"
#include "report/system.h"

namespace mlxk {
namespace {

using ::testing::ElementsAre;

ReportRecord small_record() {
  ReportRecord record;
  record.test = "bench::text[prompt=8]";
  set_times(record, 1767225600.25, 2.5);
  return record;
}

Json with(const char* key, Json value) {
  Json object = to_json(small_record());
  object[key] = std::move(value);
  return object;
}

std::string problems_text(const Json& object) {
  std::string text;
  for (const auto& problem : find_problems(object)) text += problem.field + ": " + problem.message + "\n";
  return text;
}

/// The properties of a JSON schema, by path.
void collect(const Json& schema, const std::string& prefix, std::map<std::string, const Json*>& found) {
  for (const auto& [name, property] : value_at(schema, "properties").items()) {
    const std::string path = prefix.empty() ? name : prefix + "." + name;
    found[path] = &property;
    collect(property, path, found);
  }
}

class ReportFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "mlxk_report_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

TEST(ReportSchema, IsThatOfTheDocument) {
  const Json schema = read_json(fs::path(test_tree::kSourceDir) / "docs" / "report.schema.json");
  EXPECT_EQ(value_at(schema, "additionalProperties"), false);
  std::map<std::string, const Json*> documented;
  collect(schema, "", documented);
  EXPECT_EQ(documented.size(), schema_fields().size());
  const std::map<FieldType, std::string> types = {{FieldType::text, "string"},     {FieldType::number, "number"},
                                                  {FieldType::integer, "integer"}, {FieldType::boolean, "boolean"},
                                                  {FieldType::texts, "array"},     {FieldType::object, "object"}};
  for (const SchemaField& field : schema_fields()) {
    SCOPED_TRACE(field.path);
    const auto at = documented.find(std::string(field.path));
    ASSERT_NE(at, documented.end());
    const Json& property = *at->second;
    EXPECT_EQ(string_at(property, "type"), types.at(field.type));
    EXPECT_EQ(property.contains("minimum"), field.non_negative);
    const Json& choices = value_at(field.type == FieldType::texts ? value_at(property, "items") : property, "enum");
    EXPECT_EQ(choices.size(), field.choices.size());
    for (const std::string_view choice : field.choices)
      EXPECT_NE(std::find(choices.begin(), choices.end(), choice), choices.end());
    const Json& required = value_at(schema, "required");
    EXPECT_EQ(std::find(required.begin(), required.end(), field.path) != required.end(), field.required);
  }
}

TEST(ReportRecord, IsWrittenAndReadWithEveryField) {
  Json full = to_json(small_record());
  for (const SchemaField& field : schema_fields()) {
    if (field.required || field.type == FieldType::object) continue;
    Json* place = &full;
    std::string_view path = field.path;
    for (size_t dot; (dot = path.find('.')) != path.npos; path.remove_prefix(dot + 1)) {
      place = &(*place)[std::string(path.substr(0, dot))];
    }
    Json& value = (*place)[std::string(path)];
    if (field.type == FieldType::text) value = field.choices.empty() ? "word" : field.choices[0];
    if (field.type == FieldType::texts) value = {field.choices.empty() ? "word" : field.choices[0]};
    if (field.type == FieldType::number) value = 1.5;
    if (field.type == FieldType::integer) value = 3;
    if (field.type == FieldType::boolean) value = true;
  }
  full["metadata"]["batch"] = {1, 2};
  EXPECT_EQ(problems_text(full), "");
  EXPECT_EQ(to_json(record_from_json(full)), full);
}

TEST(ReportRecord, LeavesOutWhatIsEmpty) {
  const Json object = to_json(small_record());
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  EXPECT_THAT(keys, ElementsAre("schema_version", "timestamp", "test_start_ts", "test_end_ts", "mlx_knife_version",
                                "test", "outcome", "duration"));
  EXPECT_EQ(object["timestamp"], "2026-01-01T00:00:02.750Z");
}

TEST(ReportRecord, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(problems_text(with("outcome", "ok")), "outcome: must be one of passed, failed, skipped, got \"ok\"\n");
  EXPECT_EQ(problems_text(with("schema_version", "1.0.0")),
            "schema_version: must be one of 0.2.2, 0.2.1, 0.2.0, 0.1.0, got \"1.0.0\"\n");
  EXPECT_EQ(problems_text(with("duration", -1)), "duration: must not be negative, got -1\n");
  EXPECT_EQ(problems_text(with("model", nullptr)), "model: must be an object, got null\n");
  EXPECT_EQ(problems_text(with("performance", {{"tokens_per_sec", "fast"}})),
            "performance.tokens_per_sec: must be a number, got \"fast\"\n");
  EXPECT_EQ(problems_text(with("performance", {{"prompt_tokens", 1.5}})),
            "performance.prompt_tokens: must be a whole number, got 1.5\n");
  EXPECT_EQ(problems_text(with("performance", {{"prompt_tokens", 1e300}})),
            "performance.prompt_tokens: must be a whole number, got 1e+300\n");
  EXPECT_EQ(problems_text(with("system_health", {{"quality_flags", {"clean", "fine"}}})),
            "system_health.quality_flags: must be one of clean, degraded_swap, degraded_zombies, degraded_memory, got "
            "[\"clean\",\"fine\"]\n");
  EXPECT_EQ(problems_text(with("timestamp", "yesterday")),
            "timestamp: must be an ISO 8601 date and time, got \"yesterday\"\n");
  EXPECT_EQ(problems_text(with("mlx_knife_version", "2.0")),
            "mlx_knife_version: must be a version like 2.0.4, got \"2.0\"\n");
  EXPECT_EQ(problems_text(with("speed", 1)), "speed: is not a field of the schema; new fields go under metadata\n");
  EXPECT_EQ(problems_text(Json::array()), ": must be an object, got []\n");
  Json missing = to_json(small_record());
  missing.erase("test");
  EXPECT_EQ(problems_text(missing), "test: is missing\n");
  EXPECT_EQ(problems_text(with("performance", {{"prompt_tokens", 2.0}, {"more", 1}})), "");
}

TEST_F(ReportFile, AppendsBehindALineThatWasCutOff) {
  const fs::path path = folder_ / "bench.jsonl";
  std::ofstream(path) << "{\"schema_version\":\"0.2.2\",\"time";
  append_records(path, {small_record(), small_record()});
  std::vector<std::string> problems;
  ReportReader reader(path, [&](const LineProblem& problem) { problems.push_back(describe("f", problem)); });
  int records = 0;
  while (const auto record = reader.next()) records += record->test == "bench::text[prompt=8]";
  EXPECT_EQ(records, 2);
  EXPECT_THAT(problems, ElementsAre("f:1: invalid JSON at byte 32"));
}

TEST_F(ReportFile, RefusesToWriteWhatTheSchemaForbids) {
  ReportRecord record = small_record();
  record.duration = -1;
  EXPECT_THROW(append_records(folder_ / "bench.jsonl", {record}), Error);
  EXPECT_FALSE(fs::exists(folder_ / "bench.jsonl"));
}

TEST_F(ReportFile, PassesOverWhatIsNoRecord) {
  const fs::path path = folder_ / "mixed.jsonl";
  Json old = to_json(small_record());
  old["schema_version"] = "0.1.0";
  std::ofstream(path) << "\xEF\xBB\xBF" << old.dump() << "\r\n\n[1]\n"
                      << with("duration", "long").dump() << "\n"
                      << old.dump().substr(0, 40);
  std::vector<std::string> problems;
  ReportReader reader(path, [&](const LineProblem& problem) { problems.push_back(describe("f", problem)); });
  ASSERT_TRUE(reader.next());
  EXPECT_EQ(reader.line(), 1);
  EXPECT_FALSE(reader.next());
  EXPECT_THAT(problems, ElementsAre("f:3: must be an object, got [1]", "f:4: duration: must be a number, got \"long\"",
                                    "f:5: the last line is cut off: invalid JSON at byte 41"));
}

TEST(ReportClocks, FallBackToTheDuration) {
  ReportRecord record = small_record();
  EXPECT_EQ(clock_problem(record), "");
  record.test_end_ts = *record.test_start_ts - 3600;
  EXPECT_EQ(clock_problem(record), "test_end_ts is 3600.000 s before test_start_ts");
  EXPECT_EQ(test_span(record)->end, *record.test_start_ts + 2.5);
  record.test_start_ts = record.test_end_ts = std::nullopt;
  EXPECT_DOUBLE_EQ(test_span(record)->start, 1767225600.25);
}

TEST(ReportSystem, DescribesThisMachine) {
  ReportRecord record = small_record();
  record.system = this_system("0.1");
  record.system_health = system_health();
  EXPECT_EQ(problems_text(to_json(record)), "");
  EXPECT_GT(record.system.ram_total_gb, 0.1);
  EXPECT_FALSE(record.system_health.quality_flags.empty());
}

TEST(MachineFacts, MeasuresMemory) {
  EXPECT_GT(read_bandwidth(2, uint64_t{16} << 20), 1e8);
  EXPECT_GT(peak_memory(), uint64_t{1} << 20);
  EXPECT_GE(machine_facts().cores, 1);
}

}  // namespace
}  // namespace mlxk
