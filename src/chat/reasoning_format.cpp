// Recognises a model's reasoning format, and formats reasoning for display.
#include "chat/reasoning.h"

namespace mlxk {

namespace {
struct Tags {
  std::string_view open, close;
  std::string_view answer_open = "", answer_close = "";  // only if the template has answer_close
};
constexpr Tags kTags[] = {
    {"<think>", "</think>", "<response>", "</response>"},                                    // Granite 3.3
    {"<think>", "</think>", "<answer>", "</answer>"},                                        // Hunyuan
    {"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]", "", "[END FINAL RESPONSE]"},  // Apriel 1.5
    {"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"},                              // Apriel 1.6
    {"<think>", "</think>"},              // Qwen3, DeepSeek R1, QwQ, SmolLM3, GLM …
    {"<|channel>thought", "<channel|>"},  // Gemma 4
    {"<|think:start|>", "<|think:end|>"},
    {"<longcat_think>", "</longcat_think>"},
    {"<seed:think>", "</seed:think>"},
    {"<mm:think>", "</mm:think>"},
    {"[THINK]", "[/THINK]"},                     // Mistral
    {"<|START_THINKING|>", "<|END_THINKING|>"},  // Command
    {"<|inner_prefix|>", "<|inner_suffix|>"},    // Apertus
    {"◁think▷", "◁/think▷"},                     // Kimi-VL
    {"<thought>", "</thought>"},
    {"<thinking>", "</thinking>"},
};
constexpr std::string_view kHarmony[] = {"<|channel|>", "<|message|>", "<|start|>",    "<|end|>",
                                         "<|return|>",  "<|call|>",    "<|constrain|>"};

bool ends_inside(std::string_view prompt, std::string_view open) {
  const size_t last = prompt.find_last_not_of(" \t\r\n");
  if (last == std::string_view::npos) return false;
  prompt = prompt.substr(0, last + 1);
  return prompt.size() >= open.size() && prompt.substr(prompt.size() - open.size()) == open;
}
}  // namespace

std::vector<std::string> ReasoningFormat::markers() const {
  switch (kind) {
    case Kind::none: return {};
    case Kind::tags: {
      std::vector<std::string> all = {open, close};
      for (const std::string& tag : {answer_open, answer_close}) {
        if (!tag.empty()) all.push_back(tag);
      }
      return all;
    }
    case Kind::harmony: return {std::begin(kHarmony), std::end(kHarmony)};
  }
  return {};
}

ReasoningFormat detect_reasoning(std::string_view template_source, const Tokenizer& tokenizer,
                                 std::string_view prompt) {
  const auto in_vocabulary = [&](std::string_view token) { return tokenizer.token_to_id(token).has_value(); };
  const auto in_template = [&](std::string_view text) { return template_source.find(text) != std::string_view::npos; };
  if (in_vocabulary("<|channel|>") && in_vocabulary("<|message|>"))
    return {ReasoningFormat::Kind::harmony, "", "", false};
  const auto tags = [&](const Tags& row) {
    ReasoningFormat format{ReasoningFormat::Kind::tags, std::string(row.open), std::string(row.close),
                           ends_inside(prompt, row.open)};
    format.answer_open = row.answer_open;
    format.answer_close = row.answer_close;
    return format;
  };
  const auto fits = [&](const Tags& row) { return row.answer_close.empty() || in_template(row.answer_close); };
  for (const Tags& row : kTags) {
    if (!fits(row)) continue;
    if (in_vocabulary(row.close) && (in_vocabulary(row.open) || in_template(row.open))) return tags(row);
  }
  for (const Tags& row : kTags) {
    if (fits(row) && in_template(row.close)) return tags(row);
  }
  return {};
}

std::string PartFormatter::format(const std::vector<Part>& parts) {
  std::string out;
  for (const Part& part : parts) {
    const bool reasoning = part.kind == Part::Kind::reasoning;
    if (part.kind == Part::Kind::tool_call || (reasoning && !show_reasoning_)) continue;
    if (reasoning && !in_reasoning_) out += any_ ? "\n\n**[Reasoning]**\n\n" : "**[Reasoning]**\n\n";
    if (!reasoning && in_reasoning_) out += "\n\n---\n\n**[Answer]**\n\n";
    in_reasoning_ = reasoning;
    any_ = true;
    out += part.text;
  }
  return out;
}

}  // namespace mlxk
