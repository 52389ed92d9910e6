#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "server/event_stream.h"
#include "server/json_text.h"
#include "server/openai/answer_writers.h"
#include "server/openai/logprobs.h"

namespace mlxk {

namespace {
class AnswerStream : public AnswerWriter {
 public:
  AnswerStream(AnswerHead head, bool include_usage);

  HttpResponse head() const override { return stream_head({}); }
  void open(int choice) override;
  void add(int choice, AnswerDelta delta) override;
  void close(int choice, AnswerFinish finish) override;
  void end(const AnswerUsage& usage) override;
  void fail(std::string_view error) override;
  void keep_alive() override { out_ += kStreamComment; }

 private:
  void begin_chunk(int choice);
  void end_chunk(std::string_view finish_reason);
  void append_calls(const std::vector<ToolCallDelta>& calls);

  AnswerHead head_;
  std::string prefix_, suffix_;  // the beginning and end of every chunk
  bool include_usage_;
};

AnswerStream::AnswerStream(AnswerHead head, bool include_usage)
    : head_(std::move(head)), include_usage_(include_usage) {
  prefix_ = R"(data: {"id":)";
  append_json_string(prefix_, head_.id);
  prefix_ += head_.kind == AnswerHead::Kind::chat ? R"(,"object":"chat.completion.chunk","created":)"
                                                  : R"(,"object":"text_completion","created":)";
  prefix_ += std::to_string(head_.created);
  prefix_ += R"(,"model":)";
  append_json_string(prefix_, head_.model);
  prefix_ += R"(,"choices":[)";
  // Once usage is requested, every chunk has the field.
  suffix_ = include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n";
}

void AnswerStream::begin_chunk(int choice) {
  out_ += prefix_;
  fmt::format_to(std::back_inserter(out_), R"({{"index":{})", choice);
}

void AnswerStream::end_chunk(std::string_view finish_reason) {
  out_ += R"(,"finish_reason":)";
  append_json_string_or_null(out_, finish_reason);
  out_ += suffix_;
}

void AnswerStream::open(int choice) {
  begin_chunk(choice);
  out_ += head_.kind == AnswerHead::Kind::chat ? R"(,"delta":{"role":"assistant","content":""},"logprobs":null)"
                                               : R"(,"text":"","logprobs":null)";
  end_chunk("");
}

void AnswerStream::add(int choice, AnswerDelta delta) {
  if (delta.empty()) return;
  begin_chunk(choice);
  if (head_.kind == AnswerHead::Kind::completion) {
    out_ += R"(,"text":)";
    append_json_string(out_, delta.content);
    out_ += R"(,"logprobs":)";
    if (delta.scores.empty()) {
      out_ += "null";
    } else {
      append_completion_logprobs(out_, delta.scores, *head_.tokenizer);
    }
    return end_chunk("");
  }
  out_ += R"(,"delta":{)";
  const char* comma = "";
  if (!delta.reasoning.empty()) {
    out_ += R"("reasoning_content":)";
    append_json_string(out_, delta.reasoning);
    comma = ",";
  }
  if (!delta.content.empty()) {
    out_ += comma;
    out_ += R"("content":)";
    append_json_string(out_, delta.content);
    comma = ",";
  }
  if (!delta.tool_calls.empty()) {
    out_ += comma;
    append_calls(delta.tool_calls);
  }
  out_ += R"(},"logprobs":)";
  if (delta.scores.empty()) {
    out_ += "null";
  } else {
    out_ += R"({"content":[)";
    append_chat_logprobs(out_, delta.scores, *head_.tokenizer);
    out_ += R"(],"refusal":null})";
  }
  end_chunk("");
}

void AnswerStream::append_calls(const std::vector<ToolCallDelta>& calls) {
  out_ += R"("tool_calls":[)";
  const char* comma = "";
  for (const ToolCallDelta& call : calls) {
    fmt::format_to(std::back_inserter(out_), R"({}{{"index":{})", comma, call.index);
    if (!call.name.empty()) {
      out_ += R"(,"id":)";
      append_json_string(out_, random_id("", kCallIdLetters));
      out_ += R"(,"type":"function")";
    }
    out_ += R"(,"function":{)";
    if (!call.name.empty()) {
      out_ += R"("name":)";
      append_json_string(out_, call.name);
      out_ += ',';
    }
    out_ += R"("arguments":)";
    append_json_string(out_, call.arguments);
    out_ += "}}";
    comma = ",";
  }
  out_ += ']';
}

void AnswerStream::close(int choice, AnswerFinish finish) {
  begin_chunk(choice);
  out_ += head_.kind == AnswerHead::Kind::chat ? R"(,"delta":{},"logprobs":null)" : R"(,"text":"","logprobs":null)";
  end_chunk(finish_reason_name(finish));
}

void AnswerStream::end(const AnswerUsage& usage) {
  if (include_usage_) {
    out_ += prefix_;
    out_ += "],\"usage\":";
    append_usage(out_, usage);
    out_ += "}\n\n";
  }
  out_ += kLastEvent;
}

void AnswerStream::fail(std::string_view error) {
  out_ += event_of(error);
  out_ += kLastEvent;
}

}  // namespace

std::unique_ptr<AnswerWriter> make_answer_stream(AnswerHead head, bool include_usage) {
  return std::make_unique<AnswerStream>(std::move(head), include_usage);
}

}  // namespace mlxk
