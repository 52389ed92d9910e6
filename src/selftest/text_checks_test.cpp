// Each check passes with a model that keeps its contract and fails with one that breaks it.
#include "selftest/text_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <memory>

#include "base/error.h"
#include "selftest/run_checks.h"
#include "selftest/testing/scripted_backend.h"
#include "serving/model_loader.h"
#include "serving/testing/tiny_model.h"
#include "tokenizer/chat_template.h"
#include "vision/processor.h"
#include "worker/convert_options.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

using ::testing::HasSubstr;
using testing::Script;
namespace fs = std::filesystem;

constexpr uint64_t kLarge = uint64_t{5} << 30;

/// A processor whose images are two tokens.
class FakeProcessor : public ImageProcessor {
 public:
  ProcessedImage process(const Image& image) const override {
    return {with_digest(
                {MediaKind::image, std::vector<float>(static_cast<size_t>(image.width), 0.5F), {image.width}, {}, {}}),
            "<tool_call><tool_call>", 2};
  }
  std::string placeholder(int) const override { return "<tool_call>"; }
  std::string image_token() const override { return "<tool_call>"; }
};

class TextChecks : public ::testing::Test {
 protected:
  ~TextChecks() override { fs::remove_all(folder_); }

  /// The finding of `check` for a model with `script`.
  CheckFinding find(CheckFinding (*check)(const TextSubject&), Script script = {},
                    const char* chat_template = testing::tiny::kTemplate) {
    fs::remove_all(folder_);
    testing::write_tiny_model(folder_, context_, chat_template);
    const ModelInfo info = probe_model({"tiny", folder_, "", false, ""});
    Worker worker([&] { return std::make_unique<testing::ScriptedBackend>(script); });
    auto model = as_text(open_model(info)->read(worker, selftest_load_options(), {}));
    if (sees_) {
      auto tokenizer = model->tokenizer();
      model = std::make_shared<const ServedText>(info, tokenizer, ChatTemplate::load(folder_, *tokenizer),
                                                 model->handle(), std::make_unique<FakeProcessor>());
    }
    SelftestResult result;
    const TextSubject subject{worker, *model, options_, result.figures};
    run_checks({{"it", [&] { return check(subject); }}}, options_, result);
    return result.checks.front().finding;
  }
  void expect_passed(const CheckFinding& finding) { EXPECT_EQ(finding.outcome, Outcome::passed) << finding.reason; }
  void expect_failed(const CheckFinding& finding, const char* reason) {
    EXPECT_EQ(finding.outcome, Outcome::failed) << finding.reason;
    EXPECT_THAT(finding.reason, HasSubstr(reason));
  }
  void expect_skipped(const CheckFinding& finding, const char* reason) {
    EXPECT_EQ(finding.outcome, Outcome::skipped) << finding.reason;
    EXPECT_THAT(finding.reason, HasSubstr(reason));
  }

  fs::path folder_ = fs::temp_directory_path() / ("mlxk_text_checks_" + std::to_string(getpid()));
  SelftestOptions options_{.quick = true};
  int64_t context_ = 4096;
  bool sees_ = false;
};

TEST_F(TextChecks, Template) {
  expect_passed(find(check_template));
  expect_failed(find(check_template, {}, "Always the same."), "does not show it");
  expect_failed(find(check_template, {}, "{{ messages[0]['content'] }}{{ raise_exception('no') }}"), "no");
  expect_failed(find(check_template, {},
                     "{% if messages[0].content == 'Hello' or messages[0].content[:6] == 'Hello<' %}{{ "
                     "messages[0].content }}{% endif %}"),
                "is empty");
  const CheckFinding picky =
      find(check_template, {},
           "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}|"
           "{{ m.content }}{% endfor %}");
  expect_passed(picky);
  EXPECT_THAT(picky.reason, HasSubstr("it refuses system"));
  expect_skipped(find(check_template, {}, nullptr), "no chat template");
}

TEST_F(TextChecks, StopTokens) {
  expect_passed(find(check_stop_tokens, {.says = "Hello!"}));
  expect_failed(find(check_stop_tokens, {.says = "Hello!<|im_start|>user"}), "shows <|im_start|>");
}

TEST_F(TextChecks, StreamedTextEqualsTheWhole) {
  expect_passed(find(check_streaming, {.says = "naïve 🚀"}));
  EXPECT_EQ(same_text({"na", "ïve"}, "naïve").outcome, Outcome::passed);
  expect_failed(same_text({"na\xc3", "\xafve"}, "naïve"), "splits a character");
  expect_failed(same_text({"nave"}, "naïve"), "at byte 2");
  expect_failed(same_text({"naïve", " "}, "naïve"), "at byte 6");
}

TEST_F(TextChecks, ABatchEqualsItsRequestsAlone) {
  expect_passed(find(check_batch));
  expect_failed(find(check_batch, {.minds_neighbours = true}), "request ");
  expect_failed(find(check_batch, {.finite = false}), "log-probabilities");
  expect_failed(find(check_batch, {.silent = true}), "no request has an answer");
}

TEST_F(TextChecks, ACachedPromptEqualsAFreshOne) {
  expect_passed(find(check_prefix_cache));
  expect_failed(find(check_prefix_cache, {.minds_cache = true}), "token 1 is");
  expect_skipped(find(check_prefix_cache, {.caches = false}), "does not cache");
  context_ = 256;
  expect_skipped(find(check_prefix_cache), "context is too small");
}

TEST_F(TextChecks, ACutPromptEqualsTheWhole) {
  expect_passed(find(check_cut_prompts));
  expect_failed(find(check_cut_prompts, {.minds_cuts = true}), "token 1 is");
  context_ = 512;
  expect_skipped(find(check_cut_prompts), "context is too small");
}

TEST_F(TextChecks, AJsonSchemaIsHeld) {
  expect_passed(find(check_json_schema));
  expect_failed(find(check_json_schema, {.says = "no", .heeds_constraints = false}), "is not JSON: \"no\"");
  expect_failed(find(check_json_schema,
                     {.says = "{\"name\": \"A\", \"age\": 200, \"likes\": [\"tea\"]}", .heeds_constraints = false}),
                "breaks its schema");
}

TEST_F(TextChecks, JsonByWitIsHeldAgainstLargeModelsAlone) {
  expect_passed(find(check_plain_json, {.says = "Sure: {\"colour\": \"red\"}."}));
  expect_skipped(find(check_plain_json, {.says = "red"}), "not held against a model of 0 MB");
  expect_skipped(find(check_plain_json, {.says = "red"}, nullptr), "not held against a base model");
  expect_skipped(find(check_plain_json, {.says = "red", .weight_bytes = kLarge, .english = -5.6F}), "random weights");
  expect_failed(find(check_plain_json, {.says = "red", .weight_bytes = kLarge}), "it answers \"red\"");
  options_.strict = true;
  expect_failed(find(check_plain_json, {.says = "red"}), "it answers \"red\"");
}

TEST_F(TextChecks, ToolCallsAreHeld) {
  expect_passed(find(check_tool_calls));
  const CheckFinding generic = find(check_tool_calls, {}, testing::tiny::kPlainTemplate);
  expect_passed(generic);
  EXPECT_THAT(generic.reason, HasSubstr("generic"));
  expect_failed(find(check_tool_calls, {.says = "It rains.", .heeds_constraints = false}), "no call of get_weather");
  expect_skipped(find(check_tool_calls, {}, nullptr), "no chat template");
}

constexpr const char* kReasoningTemplate =
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{# <think> </think> #}";

TEST_F(TextChecks, ReasoningIsSplitOff) {
  expect_skipped(find(check_reasoning, {}, nullptr), "no reasoning format");
  expect_passed(find(check_reasoning, {.says = "Four."}, kReasoningTemplate));
  expect_failed(find(check_reasoning, {.says = "a</think>b</think>c"}, kReasoningTemplate), "shows </think>");
}

TEST_F(TextChecks, ALongContext) {
  const CheckFinding whole = find(check_long_context);
  expect_passed(whole);
  EXPECT_THAT(whole.reason, HasSubstr("1024 tokens"));
  const CheckFinding half = find(check_long_context, {.longest = 800});
  expect_passed(half);
  EXPECT_THAT(half.reason, HasSubstr("512 tokens"));
  EXPECT_THAT(half.reason, HasSubstr("too long for the memory"));
  expect_failed(find(check_long_context, {.longest = 10}), "too long for the memory");
  expect_failed(find(check_long_context, {.longest = 800, .breaks_on_long = true}), "the cache is overrun");
  expect_failed(find(check_long_context, {.finite = false}), "not finite");
  expect_failed(find(check_long_context, {.silent = true}), "0 tokens instead of 8");
}

TEST_F(TextChecks, Vision) {
  expect_skipped(find(check_vision, {.says = "red"}), "accepts no images");
  sees_ = true;
  expect_passed(find(check_vision, {.says = "It is Red."}));
  expect_skipped(find(check_vision, {.says = "blue"}), "about a red circle it says \"blue\"");
  expect_failed(find(check_vision, {.says = "blue", .weight_bytes = kLarge}), "about a red circle it says \"blue\"");
}

TEST_F(TextChecks, Speed) {
  const CheckFinding speed = find(check_speed);
  expect_passed(speed);
  EXPECT_THAT(speed.reason, HasSubstr("230.0 tokens/s"));
  expect_failed(find(check_speed, {.silent = true}), "nothing to measure");
}

TEST_F(TextChecks, AnInterruptEndsThemAll) {
  options_.stop_wanted = [] { return true; };
  try {
    find(check_batch);
    FAIL() << "continued";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::cancelled);
  }
}

TEST(SameAnswer, IsLenientWhereBitsAreNotPromised) {
  const auto run = [](std::vector<TokenEvent> tokens) { return TokenRun{std::move(tokens), {}, {}}; };
  const TokenRun one = run({{1, -0.1F, {}}, {2, -1.0F, {}}}), rounded = run({{1, -0.12F, {}}, {2, -1.0F, {}}});
  const TokenRun tie = run({{1, -0.1F, {}}, {3, -1.05F, {}}}), other = run({{1, -0.1F, {}}, {3, -3.0F, {}}});
  const TokenRun shorter = run({{1, -0.1F, {}}});
  EXPECT_EQ(same_answer(one, one, true).outcome, Outcome::passed);
  EXPECT_EQ(same_answer(one, rounded, true).outcome, Outcome::failed);
  EXPECT_EQ(same_answer(one, rounded, false).outcome, Outcome::passed);
  EXPECT_EQ(same_answer(one, tie, true).outcome, Outcome::failed);
  EXPECT_EQ(same_answer(one, tie, false).outcome, Outcome::passed);
  EXPECT_EQ(same_answer(one, other, false).outcome, Outcome::failed);
  EXPECT_EQ(same_answer(one, shorter, false).outcome, Outcome::failed);
}

}  // namespace
}  // namespace mlxk
