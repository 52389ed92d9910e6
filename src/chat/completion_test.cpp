#include "chat/completion.h"

#include <gtest/gtest.h>

#include "chat/testing/small_tokenizer.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {
namespace {

struct Shown {
  std::string reasoning, answer;
  bool stopped = false;
  bool operator==(const Shown&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Shown& shown) {
  return out << "R:" << shown.reasoning << " A:" << shown.answer << (shown.stopped ? " stopped" : "");
}

/// Pushes every token in turn.
Shown complete(const std::vector<std::string>& tokens, const std::vector<std::string>& special,
               const std::vector<std::string>& stops, const ReasoningFormat& format) {
  const auto tokenizer = testing::small_tokenizer(tokens, special);
  Completion completion(tokenizer, stops, format);
  Shown shown;
  const auto take = [&](const std::vector<Part>& parts) {
    for (const Part& part : parts) (part.kind == Part::Kind::reasoning ? shown.reasoning : shown.answer) += part.text;
  };
  for (size_t i = 0; i < tokens.size(); ++i) take(completion.push(static_cast<int32_t>(i)));
  take(completion.finish());
  shown.stopped = completion.stopped();
  return shown;
}

TEST(Completion, CutsAtAStopStringThatSpansTokens) {
  EXPECT_EQ(complete({"one ", "tw", "o th", "ree"}, {}, {"two three"}, {}), (Shown{"", "one ", true}));
  EXPECT_EQ(complete({"one ", "tw", "o th", "row"}, {}, {"two three"}, {}), (Shown{"", "one two throw", false}));
}

TEST(Completion, EndsAtSpecialTokensAndShowsNoOthers) {
  EXPECT_EQ(complete({"a", "<|pad|>", "b", "<|im_end|>", "c"}, {"<|pad|>", "<|im_end|>"}, {}, {}),
            (Shown{"", "ab", true}));
  EXPECT_EQ(complete({"a", "<|tool_call_end|>", "b"}, {"<|tool_call_end|>"}, {}, {}), (Shown{"", "ab", false}));
}

TEST(Completion, SplitsReasoningMarkedBySpecialTokens) {
  const ReasoningFormat think = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
  EXPECT_EQ(complete({"<think>", "\nhm", "</think>", "\n\n", "yes"}, {"<think>", "</think>"}, {}, think),
            (Shown{"hm", "yes", false}));
  const ReasoningFormat gemma = {ReasoningFormat::Kind::tags, "<|channel>thought", "<channel|>", false};
  EXPECT_EQ(complete({"<|channel>", "thought", "\nhm", "<channel|>", "yes"}, {"<|channel>", "<channel|>"}, {}, gemma),
            (Shown{"hm", "yes", false}));
}

/// Pushes every token in turn; returns the number of reasoning tokens.
int64_t reasoning_tokens(const std::vector<std::string>& tokens, const std::vector<std::string>& special,
                         const ReasoningFormat& format) {
  Completion completion(testing::small_tokenizer(tokens, special), {}, format);
  for (size_t i = 0; i < tokens.size(); ++i) completion.push(static_cast<int32_t>(i));
  completion.finish();
  return completion.reasoning_tokens();
}

TEST(Completion, CountsTheTokensBetweenTheMarkersOfReasoning) {
  const ReasoningFormat think = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
  ReasoningFormat opened = think;
  opened.prompt_opens = true;
  const std::vector<std::string> tags = {"<think>", "</think>"};
  EXPECT_EQ(reasoning_tokens({"<think>", "\n", "a", "b", "\n\n", "</think>", " ", "yes"}, tags, think), 4);
  EXPECT_EQ(reasoning_tokens({"a", " b", "</think>", "yes"}, tags, opened), 2);
  EXPECT_EQ(reasoning_tokens({"<think>", "</think>", "yes"}, tags, think), 0);
  EXPECT_EQ(reasoning_tokens({"a", "b"}, tags, think), 0);
  EXPECT_EQ(reasoning_tokens({"<think>", "a", "b"}, tags, think), 2);  // the limit came before the end
}

TEST(Completion, TokensOfAMarkerThatIsWrittenInPiecesAreNoReasoning) {
  const ReasoningFormat think = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
  EXPECT_EQ(reasoning_tokens({"<", "think", ">", "a", " <", "b", "</", "thin", "k", ">\n", "yes"}, {}, think), 3);
  EXPECT_EQ(reasoning_tokens({"<thi", "nk>\n", "a", ".</", "think>", "yes"}, {}, think), 2);  // ".</" began in it
}

TEST(Completion, CountsTheReasoningOfHarmonyMessages) {
  const std::vector<std::string> special = {"<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>"};
  const ReasoningFormat harmony = {ReasoningFormat::Kind::harmony, "", "", false};
  EXPECT_EQ(reasoning_tokens({"<|channel|>", "analysis", "<|message|>", "h", "m", "<|end|>", "<|start|>", "assistant"},
                             special, harmony),
            2);
}

TEST(Completion, OneForAnotherAnswerBeginsAnew) {
  const ReasoningFormat think = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
  const auto tokenizer = testing::small_tokenizer({"<think>", "hm", "</think>", "yes", "<|im_end|>"},
                                                  {"<think>", "</think>", "<|im_end|>"});
  Completion first(tokenizer, {"no"}, think);
  for (int round = 0; round < 2; ++round) {
    Completion again = first.again();
    std::string shown;
    for (int32_t id = 0; id < 5; ++id) {
      for (const Part& part : again.push(id)) shown += (part.kind == Part::Kind::reasoning ? "R:" : "A:") + part.text;
      first.push(id);
    }
    EXPECT_EQ(shown, "R:hmA:yes");
    EXPECT_TRUE(again.stopped());
  }
}

TEST(Completion, DoesNotEndAtTheEndOfAHarmonyMessage) {
  const ReasoningFormat harmony = {ReasoningFormat::Kind::harmony, "", "", false};
  const std::vector<std::string> special = {"<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>"};
  const auto tokenizer = testing::small_tokenizer({"<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>",
                                                   "analysis", "final", "assistant", "hm", "yes"},
                                                  special);
  Completion completion(tokenizer, {}, harmony);
  std::string shown;
  for (const int32_t id : {0, 5, 1, 8, 2, 3, 7, 0, 6, 1, 9, 4}) {
    for (const Part& part : completion.push(id))
      shown += (part.kind == Part::Kind::reasoning ? "R:" : "A:") + part.text;
  }
  for (const Part& part : completion.finish()) shown += part.text;
  EXPECT_EQ(shown, "R:hmA:yes");
}

TEST(Completion, GivesHeldBackTextAtTheEnd) {
  EXPECT_EQ(complete({"ab", "\nHum"}, {}, {"\nHuman:"}, {}), (Shown{"", "ab\nHum", false}));
}

/// "R:…", "A:…" and "C:name{arguments}" of tokens pushed in turn, then of `text` after the stop, if any.
std::string calls(const std::vector<std::string>& tokens, const std::vector<std::string>& special,
                  const std::vector<std::string>& stops, const ReasoningFormat& reasoning, const ToolFormat& format) {
  ToolOptions tools;
  tools.tools = Json::parse(R"([{"type": "function", "function": {"name": "f"}}])");
  Completion completion(testing::small_tokenizer(tokens, special), stops, reasoning, &format, tools);
  std::string shown;
  char last = 0;
  const auto take = [&](const std::vector<Part>& parts) {
    for (const Part& part : parts) {
      const char kind = part.kind == Part::Kind::reasoning ? 'R' : part.kind == Part::Kind::answer ? 'A' : 'C';
      if (kind != last || !part.call.name.empty()) shown += std::string("|") + kind + ":";
      last = kind;
      shown += part.text + part.call.name + part.call.arguments;
    }
  };
  for (size_t i = 0; i < tokens.size(); ++i) take(completion.push(static_cast<int32_t>(i)));
  take(completion.finish());
  return shown + (completion.stopped() ? " stopped" : "");
}

TEST(Completion, FindsCallsBehindReasoningAndEndsThemAtStops) {
  const ReasoningFormat think = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
  const std::vector<std::string> special = {"<think>", "</think>", "<|im_end|>"};
  EXPECT_EQ(calls({"<think>", "a <tool_call> b", "</think>", "\n\n", "<tool_", "call>{\"name\": \"f\", \"argu",
                   "ments\": {\"a\":", " 1}}\n</tool_call>", "<|im_end|>", "x"},
                  special, {}, think, json_tools_format()),
            "|R:a <tool_call> b|C:f{\"a\": 1} stopped");
  EXPECT_EQ(calls({"<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"one", " STOP", " two\"}}"}, special, {"STOP"},
                  think, json_tools_format()),
            "|C:f{\"a\": \"one \"} stopped");
}

TEST(Completion, TakesHarmonysMessagesToFunctionsAsCalls) {
  const ReasoningFormat harmony = {ReasoningFormat::Kind::harmony, "", "", false};
  const std::vector<std::string> special = {"<|channel|>", "<|message|>", "<|constrain|>", "<|call|>"};
  EXPECT_EQ(calls({"<|channel|>", "commentary to=func", "tions.f ", "<|constrain|>", "json", "<|message|>", "{\"a\"",
                   ": 1}", "<|call|>"},
                  special, {}, harmony, harmony_format()),
            "|C:f{\"a\": 1}");
  EXPECT_EQ(calls({" to=functions.f", "<|channel|>", "commentary json", "<|message|>", "{}"}, special, {}, harmony,
                  harmony_format()),
            "|C:f{}");
  EXPECT_EQ(calls({"<|channel|>", "commentary to=functions.f", "<|message|>", "{\"a\": [1"}, special, {}, harmony,
                  harmony_format()),
            "|C:f{\"a\": []}");
}

}  // namespace
}  // namespace mlxk
