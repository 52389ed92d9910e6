#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "json/json.h"
#include "record/recorded_run.h"
#include "record/request_recorder.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

class RecordTest : public ::testing::Test {
 protected:
  RecordTest() { fs::create_directories(folder_); }
  ~RecordTest() override { fs::remove_all(folder_); }

  static RecordedRun full_run() {
    RecordedRun run{.version = "1.2.3",
                    .device = {"cpu", "0.32", "avx2"},
                    .created_at = "2026-01-31T23:59:59Z",
                    .model = {"org/name", "/models/name", std::string(40, 'a'), true, ""},
                    .content_hash = "sha256:" + std::string(64, 'b'),
                    .request = {},
                    .prompt_tokens = 4,
                    .held = {},
                    .constrained = true,
                    .reason = FinishReason::length,
                    .tokens = {{7, -0.125F, {}}, {8, -1.5F, {}}}};
    run.request.prompt = {1, 2, 3, 4};
    run.request.media = {{1, 3, 2, with_digest({MediaKind::image, {0.5F, -1, 2, 3}, {2, 2}, {1, 2, 2}, {}})}};
    run.request.attend_both_ways = {{1, 3}};
    run.request.sampling.temperature = 0.1F;
    run.request.sampling.seed = 18446744073709551615U;
    run.request.sampling.logit_bias = {{5, -2.5F}};
    run.request.sampling.dry_breakers = {{1}, {2, 3}};
    run.request.max_tokens = 9;
    run.request.eos_token_ids = {0};
    ConstraintSource held;
    held.grammar = {AnswerGrammar::Kind::json_schema, "{}"};
    held.tools.tools = Json::array({{{"type", "function"}}});
    held.tools.choice = ToolOptions::Choice::named;
    held.tools.name = "f";
    held.tools.parallel = false;
    held.reasoning = {ReasoningFormat::Kind::tags, "<think>", "</think>", true, false, "<a>", "</a>"};
    run.held = held;
    return run;
  }
  fs::path write(const Json& json) {
    const fs::path path = folder_ / "record.json";
    std::ofstream(path) << dump_json(json, -1);
    return path;
  }

  fs::path folder_ = fs::temp_directory_path() / ("mlxk_record_" + std::to_string(getpid()));
};

TEST_F(RecordTest, IsReadAsItWasWritten) {
  const RecordedRun run = full_run();
  const RecordedRun read = read_record(write(record_json(run, false)));
  EXPECT_EQ(record_json(read, false), record_json(run, false));
  EXPECT_EQ(read.request.prompt, run.request.prompt);
  EXPECT_EQ(read.request.media.at(0).data->digest, run.request.media.at(0).data->digest);
  EXPECT_EQ(read.request.sampling.temperature, 0.1F);
  EXPECT_EQ(read.request.sampling.seed, 18446744073709551615U);
  EXPECT_EQ(read.request.sampling.logit_bias, run.request.sampling.logit_bias);
  EXPECT_EQ(read.held->tools.choice, ToolOptions::Choice::named);
  EXPECT_EQ(read.held->reasoning.kind, ReasoningFormat::Kind::tags);
  EXPECT_EQ(read.tokens.at(1).logprob, -1.5F);
  EXPECT_EQ(read.reason, FinishReason::length);
}

TEST_F(RecordTest, RedactedIsWithoutPrompts) {
  const Json json = record_json(full_run(), true);
  EXPECT_TRUE(json["request"]["prompt"].is_null());
  EXPECT_TRUE(json["request"]["media"].empty());
  EXPECT_TRUE(json["request"]["held_to"].is_null());
  EXPECT_EQ(json["request"]["prompt_tokens"], 4);
  const RecordedRun read = read_record(write(json));
  EXPECT_TRUE(read.redacted());
  EXPECT_TRUE(read.constrained);
}

TEST_F(RecordTest, BrokenFilesNameTheField) {
  const auto refused = [&](const Json& json, const std::string& field) {
    try {
      read_record(write(json));
      FAIL() << field;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::bad_model);
      EXPECT_NE(std::string(error.what()).find(field + " is missing or not as"), std::string::npos) << error.what();
    }
  };
  const Json good = record_json(full_run(), false);
  const auto changed = [&](const char* pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return json;
  };
  refused(Json::array(), ".format");
  refused(changed("/format", 2), ".format");
  refused(changed("/tokens", {1}), ".logprobs");
  refused(changed("/tokens", "x"), ".tokens");
  refused(changed("/finish_reason", "tired"), ".finish_reason");
  refused(changed("/model", 1), ".model.name");
  refused(changed("/request/sampling/top_k", "x"), ".request.sampling.top_k");
  refused(changed("/request/held_to/tools/choice", "any"), ".request.held_to.tools.choice");
  refused(changed("/request/media/0/values", "AAA"), ".request.media[].values");
  refused(changed("/request/media/0/shape", {2, 3}), ".request.media[].shape");
  refused(changed("/request/media/0/shape", {-1, -4}), ".request.media[].shape");
  refused(changed("/request/media/0/shape", {1 << 30, 1 << 30, 1 << 30}), ".request.media[].shape");
}

TEST_F(RecordTest, TheRecorderWritesAnAnswerWithItsSeed) {
  int passed_on = 0;
  GenerateRequest request;
  request.prompt = {1, 2, 3};
  {
    RequestRecorder recorder(folder_ / "new", false, {"cpu", "0", ""});
    const EventSink sink =
        recorder.record(request, {"tiny", folder_, "", false, ""}, std::nullopt, [&](const Event&) { ++passed_on; });
    EXPECT_TRUE(request.sampling.seed);
    EXPECT_EQ(request.top_logprobs, 0);
    sink(PrefillEvent{3, 3});
    sink(TokenEvent{5, -0.5F, {}});
    sink(DoneEvent{FinishReason::stop, {}, {}});
    const EventSink unfinished = recorder.record(request, {"tiny", folder_, "", false, ""}, std::nullopt, sink);
    unfinished(FailedEvent{ErrorKind::memory, "no"});  // without an answer there is no file
  }
  EXPECT_EQ(passed_on, 4);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder_ / "new")) files.push_back(entry.path());
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(fs::status(folder_ / "new").permissions(), fs::perms::owner_all);
  const RecordedRun run = read_record(files[0]);
  EXPECT_EQ(run.request.prompt, request.prompt);
  EXPECT_EQ(run.request.sampling.seed, request.sampling.seed);
  ASSERT_EQ(run.tokens.size(), 1U);
  EXPECT_EQ(run.tokens[0].token, 5);
  EXPECT_EQ(run.version, MLXK_VERSION);
}

TEST_F(RecordTest, AFolderThatIsAFileIsRefused) {
  std::ofstream(folder_ / "file") << "x";
  EXPECT_THROW(RequestRecorder(folder_ / "file", false, {}), Error);
}

}  // namespace
}  // namespace mlxk
