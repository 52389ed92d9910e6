#include "chat/reasoning.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "chat/stop_strings.h"

namespace mlxk {
namespace {

const ReasoningFormat kThink = {ReasoningFormat::Kind::tags, "<think>", "</think>", false};
const ReasoningFormat kThinkInside = {ReasoningFormat::Kind::tags, "<think>", "</think>", true};
const ReasoningFormat kGemma = {ReasoningFormat::Kind::tags, "<|channel>thought", "<channel|>", false};
const ReasoningFormat kHarmony = {ReasoningFormat::Kind::harmony, "", "", false};

/// "R:…" and "A:…" joined, neighbours of one kind merged.
std::string show(const std::vector<Part>& parts) {
  std::string out;
  const Part* last = nullptr;
  for (const Part& part : parts) {
    if (!last || last->kind != part.kind) out += part.kind == Part::Kind::reasoning ? "|R:" : "|A:";
    out += part.text;
    last = &part;
  }
  return out;
}

std::string split(const ReasoningFormat& format, const std::string& text) {
  ReasoningSplitter splitter(format);
  auto parts = splitter.push(text);
  for (auto& part : splitter.finish()) parts.push_back(part);
  const std::string whole = show(parts);
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    ReasoningSplitter again(format);
    std::vector<Part> all;
    for (size_t at = 0; at < text.size();) {
      const size_t length = 1 + random() % 6;
      for (auto& part : again.push(text.substr(at, length))) all.push_back(part);
      at += length;
    }
    for (auto& part : again.finish()) all.push_back(part);
    EXPECT_EQ(show(all), whole) << "another cut gives another result";
  }
  return whole;
}

TEST(ReasoningSplitter, SeparatesTagsAndDropsTheBlanksAroundThem) {
  EXPECT_EQ(split(kThink, "<think>\nHm, 2 + 2.\n\n</think>\n\nIt is 4.\n"), "|R:Hm, 2 + 2.|A:It is 4.\n");
  EXPECT_EQ(split(kThink, "\n<think>a\n b</think>c"), "|R:a\n b|A:c");
  EXPECT_EQ(split(kThink, "<think>\n\n</think>\n\nNo thought."), "|A:No thought.");
}

TEST(ReasoningSplitter, LeavesAnAnswerWithoutReasoningAsItIs) {
  EXPECT_EQ(split(kThink, " plain\n"), "|A: plain\n");
  EXPECT_EQ(split(kThink, "The tag <think> opens and </think> closes"), "|A:The tag <think> opens and </think> closes");
  EXPECT_EQ(split(kThink, "<thin"), "|A:<thin");
  EXPECT_EQ(split(kThink, "\n \n"), "|A:\n \n");
  EXPECT_EQ(split({}, "<think>x</think>"), "|A:<think>x</think>");
}

TEST(ReasoningSplitter, StartsInsideWhenThePromptOpensTheTag) {
  EXPECT_EQ(split(kThinkInside, "thought</think>\n\nanswer"), "|R:thought|A:answer");
  EXPECT_EQ(split(kThinkInside, "<think>\nthought</think>answer"), "|R:thought|A:answer");
  EXPECT_EQ(split(kThinkInside, "cut off by the limit "), "|R:cut off by the limit");
}

TEST(ReasoningSplitter, ReadsGemmaChannels) {
  EXPECT_EQ(split(kGemma, "<|channel>thought\nLet me see.\n<channel|>Blue."), "|R:Let me see.|A:Blue.");
}

TEST(ReasoningSplitter, DropsAClosingTagThatBeginsTheAnswer) {
  EXPECT_EQ(split(kThink, "</think>\n\nBlue."), "|A:Blue.");
}

TEST(ReasoningSplitter, DropsTheTagsAroundTheAnswer) {
  ReasoningFormat format = kThink;
  format.answer_open = "<response>";
  format.answer_close = "</response>";
  EXPECT_EQ(split(format, "<think>Hm.</think><response>Blue.</response>"), "|R:Hm.|A:Blue.");
  EXPECT_EQ(split(format, "<think>Hm.</think>\n<response>\nBlue.\n</response>\n"), "|R:Hm.|A:Blue.\n\n");
  EXPECT_EQ(split(format, "An element <response> of XML"), "|A:An element <response> of XML");
  const ReasoningFormat steps = {ReasoningFormat::Kind::tags, "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]",
                                 true};
  EXPECT_EQ(split(steps, "One.\nTwo.\n[BEGIN FINAL RESPONSE]\nBlue."), "|R:One.\nTwo.|A:Blue.");
}

TEST(ReasoningSplitter, ReadsHarmonyChannels) {
  EXPECT_EQ(split(kHarmony,
                  "<|channel|>analysis<|message|>User asks 2+2.<|end|><|start|>assistant<|channel|>final<|message|>4"
                  "<|return|>"),
            "|R:User asks 2+2.|A:4");
  EXPECT_EQ(split(kHarmony,
                  "assistant<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>analysis"
                  "<|message|>two<|end|><|start|>assistant<|channel|>final<|message|>3 < 4"),
            "|R:one\n\ntwo|A:3 < 4");
  EXPECT_EQ(split(kHarmony, "<|channel|>final<|message|>now"), "|A:now");
  EXPECT_EQ(split(kHarmony, "no channel at all"), "|A:no channel at all");
  EXPECT_EQ(split(kHarmony, "<|channel|>analysis<|message|>cut off"), "|R:cut off");
}

TEST(PartFormatter, WritesEachHeadingOnce) {
  const std::vector<Part> parts = {
      {Part::Kind::reasoning, "a"}, {Part::Kind::reasoning, "b"}, {Part::Kind::answer, "c"}, {Part::Kind::answer, "d"}};
  EXPECT_EQ(PartFormatter(true).format(parts), "**[Reasoning]**\n\nab\n\n---\n\n**[Answer]**\n\ncd");
  EXPECT_EQ(PartFormatter(false).format(parts), "cd");
}

/// A vocabulary of the tokens used here.
class Vocabulary : public Tokenizer {
 public:
  explicit Vocabulary(std::vector<std::string> tokens) : tokens_(std::move(tokens)) {}
  std::vector<int32_t> encode(std::string_view, bool, size_t) const override { return {}; }
  std::string decode(std::span<const int32_t>, bool) const override { return {}; }
  std::optional<int32_t> token_to_id(std::string_view token) const override {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i] == token) return static_cast<int32_t>(i);
    }
    return std::nullopt;
  }
  std::optional<std::string> id_to_token(int32_t id) const override { return tokens_.at(static_cast<size_t>(id)); }
  std::string token_bytes(int32_t id) const override { return tokens_.at(static_cast<size_t>(id)); }
  int32_t vocab_size() const override { return static_cast<int32_t>(tokens_.size()); }
  bool is_special(int32_t) const override { return true; }
  const std::vector<int32_t>& eos_token_ids() const override { return none_; }
  const std::string& bos_token() const override { return empty_; }
  const std::string& eos_token() const override { return empty_; }
  const std::string& pad_token() const override { return empty_; }
  const std::string& unk_token() const override { return empty_; }

 private:
  std::vector<std::string> tokens_;
  std::vector<int32_t> none_;
  std::string empty_;
};

TEST(DetectReasoning, KnowsTheFormatFromVocabularyAndTemplate) {
  const Vocabulary qwen({"<think>", "</think>", "<|im_end|>"});
  EXPECT_EQ(detect_reasoning("", qwen, "<|im_start|>assistant\n").close, "</think>");
  EXPECT_FALSE(detect_reasoning("", qwen, "<|im_start|>assistant\n").prompt_opens);
  EXPECT_TRUE(detect_reasoning("", qwen, "<|im_start|>assistant\n<think>\n").prompt_opens);
  EXPECT_FALSE(detect_reasoning("", qwen, "<think>\n\n</think>\n\n").prompt_opens);
  EXPECT_EQ(detect_reasoning("", Vocabulary({"<|channel|>", "<|message|>"}), "").kind, ReasoningFormat::Kind::harmony);
  EXPECT_EQ(detect_reasoning("'<|channel>thought\\n'", Vocabulary({"<|channel>", "<channel|>"}), "").close,
            "<channel|>");
  EXPECT_EQ(detect_reasoning("{{ '[THINK]' }}{{ '[/THINK]' }}", Vocabulary({}), "").open, "[THINK]");
  const auto apriel = detect_reasoning("… [BEGIN FINAL RESPONSE] ... [END FINAL RESPONSE]", Vocabulary({}), "");
  EXPECT_EQ(apriel.close, "[BEGIN FINAL RESPONSE]");
  EXPECT_EQ(apriel.answer_close, "[END FINAL RESPONSE]");
  const auto granite = detect_reasoning("<think></think> and <response></response>", Vocabulary({}), "");
  EXPECT_EQ(granite.answer_open, "<response>");
  const auto hunyuan = detect_reasoning("'<think>\\n\\n</think>\\n<answer>\\n' … '</answer>'", Vocabulary({}), "");
  EXPECT_EQ(hunyuan.answer_open, "<answer>");
  EXPECT_EQ(detect_reasoning("split('◁/think▷')", Vocabulary({}), "").open, "◁think▷");
  EXPECT_EQ(detect_reasoning("'<thought>\\n' … '</thought>'", Vocabulary({}), "").close, "</thought>");
  EXPECT_EQ(detect_reasoning("", qwen, "").answer_open, "");
  EXPECT_EQ(detect_reasoning("a plain template", Vocabulary({"<|im_end|>"}), "").kind, ReasoningFormat::Kind::none);
}

TEST(ImplicitStopStrings, AreEndsOfTheAnswerAndNotOfItsParts) {
  const Vocabulary vocabulary({"<|im_end|>", "<|vision_end|>", "<|end|>", "<|vendor|>", "<|END_OF_TURN_TOKEN|>",
                               "<|tool_call_end|>", "<end_of_utterance>"});
  const auto as_set = [](const std::vector<std::string>& all) { return std::set<std::string>(all.begin(), all.end()); };
  EXPECT_EQ(as_set(implicit_stop_strings(vocabulary, {})),
            (std::set<std::string>{"<|im_end|>", "<|end|>", "<|END_OF_TURN_TOKEN|>", "<end_of_utterance>"}));
  EXPECT_EQ(as_set(implicit_stop_strings(vocabulary, kHarmony.markers())),
            (std::set<std::string>{"<|im_end|>", "<|END_OF_TURN_TOKEN|>", "<end_of_utterance>"}));
}

}  // namespace
}  // namespace mlxk
