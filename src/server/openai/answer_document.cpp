#include <fmt/format.h>

#include <iterator>
#include <random>

#include "server/json_text.h"
#include "server/openai/answer_writers.h"
#include "server/openai/logprobs.h"

namespace mlxk {

void append_usage(std::string& out, const AnswerUsage& usage) {
  std::string media;
  if (usage.image_tokens > 0) {
    media = fmt::format(R"(,"image_tokens":{},"cached_images":{})", usage.image_tokens, usage.cached_images);
  }
  if (usage.audio_tokens > 0) media += fmt::format(R"(,"audio_tokens":{})", usage.audio_tokens);
  fmt::format_to(
      std::back_inserter(out),
      R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
      R"("prompt_tokens_details":{{"cached_tokens":{}{}}},"completion_tokens_details":{{"reasoning_tokens":{}}}}})",
      usage.prompt_tokens, usage.completion_tokens, usage.prompt_tokens + usage.completion_tokens, usage.cached_tokens,
      media, usage.reasoning_tokens);
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

std::string_view finish_reason_name(AnswerFinish finish) {
  switch (finish) {
    case AnswerFinish::stop: return "stop";
    case AnswerFinish::length: return "length";
    case AnswerFinish::tool_calls: return "tool_calls";
  }
  return "stop";
}

namespace {
class AnswerDocument : public AnswerWriter {
 public:
  explicit AnswerDocument(AnswerHead head) : head_(std::move(head)) {}

  HttpResponse head() const override { return {}; }
  void open(int choice) override { at(choice); }
  void add(int choice, AnswerDelta delta) override;
  void close(int choice, AnswerFinish finish) override { at(choice).finish = finish; }
  void end(const AnswerUsage& usage) override;
  void fail(std::string_view) override {}  // the error is the whole answer then
  void keep_alive() override {}

 private:
  struct Call {
    std::string id, name, arguments;
  };
  struct Choice {
    std::string content, reasoning;
    std::vector<Call> calls;
    std::vector<ScoredToken> scores;
    AnswerFinish finish = AnswerFinish::stop;
  };
  Choice& at(int choice);
  void append_chat_choice(std::string& out, const Choice& choice) const;
  void append_completion_choice(std::string& out, const Choice& choice) const;

  AnswerHead head_;
  std::vector<Choice> choices_;
};

AnswerDocument::Choice& AnswerDocument::at(int choice) {
  const auto index = static_cast<size_t>(choice);
  if (index >= choices_.size()) choices_.resize(index + 1);
  return choices_[index];
}

void AnswerDocument::add(int choice, AnswerDelta delta) {
  Choice& to = at(choice);
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

void AnswerDocument::append_chat_choice(std::string& out, const Choice& choice) const {
  out += R"("message":{"role":"assistant","content":)";
  // Null if an answer consists of tool calls; an empty answer is an empty text.
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

void AnswerDocument::end(const AnswerUsage& usage) {
  const bool chat = head_.kind == AnswerHead::Kind::chat;
  std::string& out = out_;
  out += R"({"id":)";
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
    append_json_string(out, finish_reason_name(choices_[i].finish));
    out += '}';
  }
  out += R"(],"usage":)";
  append_usage(out, usage);
  out += '}';
}
}  // namespace

std::unique_ptr<AnswerWriter> make_answer_document(AnswerHead head) {
  return std::make_unique<AnswerDocument>(std::move(head));
}

}  // namespace mlxk
