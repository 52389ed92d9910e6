#include <fmt/format.h>

#include <iterator>
#include <random>

#include "server/json_text.h"
#include "server/openai/answer_writer.h"
#include "server/openai/logprobs.h"

namespace mlxk {

void append_usage(std::string& out, const AnswerUsage& usage) {
  fmt::format_to(
      std::back_inserter(out),
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
      R"("prompt_tokens_details":{{"cached_tokens":{}}},"completion_tokens_details":{{"reasoning_tokens":{}}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens,
      usage.reasoning_tokens);
}

std::string random_id(std::string_view prefix, int letters) {
  static constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  thread_local std::mt19937_64 engine{[] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }()};
  std::uniform_int_distribution<size_t> letter(0, kAlphabet.size() - 1);
  std::string id(prefix);
  for (int i = 0; i < letters; ++i) id += kAlphabet[letter(engine)];
  return id;
}

AnswerDocument::AnswerDocument(AnswerHead head, int choices)
    : head_(std::move(head)), choices_(static_cast<size_t>(choices)) {}

void AnswerDocument::add(int choice, AnswerDelta delta) {
  Choice& to = choices_.at(static_cast<size_t>(choice));
  to.content += delta.content;
  to.reasoning += delta.reasoning;
  for (ToolCallDelta& call : delta.tool_calls) {
    const auto index = static_cast<size_t>(call.index);
    if (index >= to.calls.size()) to.calls.resize(index + 1);
    Call& one = to.calls[index];
    if (one.id.empty()) one.id = random_id("", kCallIdLetters);
    one.name += call.name;
    one.arguments += call.arguments;
  }
  std::move(delta.scores.begin(), delta.scores.end(), std::back_inserter(to.scores));
}

void AnswerDocument::close(int choice, const char* finish_reason) {
  choices_.at(static_cast<size_t>(choice)).finish_reason = finish_reason;
}

void AnswerDocument::append_chat_choice(std::string& out, const Choice& choice) const {
  out += R"("message":{"role":"assistant","content":)";
  // Null where an answer is all tool calls; an empty answer is an empty text.
  if (choice.content.empty() && !choice.calls.empty()) {
    out += "null";
  } else {
    append_json_string(out, choice.content);
  }
  if (!choice.reasoning.empty()) {
    out += R"(,"reasoning_content":)";
    append_json_string(out, choice.reasoning);
  }
  out += R"(,"refusal":null)";
  if (!choice.calls.empty()) {
    out += R"(,"tool_calls":[)";
    const char* comma = "";
    for (const Call& call : choice.calls) {
      out += comma;
      out += R"({"id":)";
      append_json_string(out, call.id);
      out += R"(,"type":"function","function":{"name":)";
      append_json_string(out, call.name);
      out += R"(,"arguments":)";
      append_json_string(out, call.arguments);
      out += "}}";
      comma = ",";
    }
    out += ']';
  }
  out += R"(},"logprobs":)";
  if (head_.logprobs) {
    out += R"({"content":[)";
    append_chat_logprobs(out, choice.scores, *head_.tokenizer);
    out += R"(],"refusal":null})";
  } else {
    out += "null";
  }
}

void AnswerDocument::append_completion_choice(std::string& out, const Choice& choice) const {
  out += R"("text":)";
  append_json_string(out, choice.content);
  out += R"(,"logprobs":)";
  if (head_.logprobs) {
    append_completion_logprobs(out, choice.scores, *head_.tokenizer);
  } else {
    out += "null";
  }
}

std::string AnswerDocument::text(const AnswerUsage& usage) const {
  const bool chat = head_.kind == AnswerHead::Kind::chat;
  std::string out = R"({"id":)";
  append_json_string(out, head_.id);
  out += chat ? R"(,"object":"chat.completion","created":)" : R"(,"object":"text_completion","created":)";
  out += std::to_string(head_.created);
  out += R"(,"model":)";
  append_json_string(out, head_.model);
  out += R"(,"choices":[)";
  for (size_t i = 0; i < choices_.size(); ++i) {
    fmt::format_to(std::back_inserter(out), R"({}{{"index":{},)", i ? "," : "", i);
    if (chat) {
      append_chat_choice(out, choices_[i]);
    } else {
      append_completion_choice(out, choices_[i]);
    }
    out += R"(,"finish_reason":)";
    append_json_string(out, choices_[i].finish_reason);
    out += '}';
  }
  out += R"(],"usage":)";
  append_usage(out, usage);
  return out += '}';
}

}  // namespace mlxk
