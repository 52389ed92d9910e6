#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/openai/answer_delta.h"

namespace mlxk {

/// Makes an answer's chunks (server-sent events) of what its choices add. One thread at a time.
class AnswerStream {
 public:
  AnswerStream(AnswerHead head, bool include_usage);

  /// A choice begins: its role (chat), an empty text (completion).
  void open(int choice);
  void add(int choice, const AnswerDelta& delta);
  void close(int choice, const char* finish_reason);
  /// All choices are closed: the usage, where it is wanted, and the end.
  void end(const AnswerUsage& usage);
  /// The answer breaks off: `document` (error_document) as an event, and the end.
  void fail(std::string_view document);
  /// A comment, which clients skip.
  void comment();

  /// The bytes since the last call.
  std::string take();
  bool empty() const { return out_.empty(); }

 private:
  void begin_chunk(int choice);
  void end_chunk(std::string_view finish_reason);
  void append_calls(const std::vector<ToolCallDelta>& calls);

  AnswerHead head_;
  std::string prefix_, suffix_;  // what every chunk begins and ends with
  bool include_usage_;
  std::string out_;
};

/// Collects an answer for one document. One thread at a time.
class AnswerDocument {
 public:
  AnswerDocument(AnswerHead head, int choices);

  void add(int choice, AnswerDelta delta);
  void close(int choice, const char* finish_reason);
  /// All choices are closed: the document.
  std::string text(const AnswerUsage& usage) const;

 private:
  struct Call {
    std::string id, name, arguments;
  };
  struct Choice {
    std::string content, reasoning;
    std::vector<Call> calls;
    std::vector<ScoredToken> scores;
    const char* finish_reason = "stop";
  };
  void append_chat_choice(std::string& out, const Choice& choice) const;
  void append_completion_choice(std::string& out, const Choice& choice) const;

  AnswerHead head_;
  std::vector<Choice> choices_;
};

/// Appends {"prompt_tokens", "completion_tokens", "total_tokens", …}.
void append_usage(std::string& out, const AnswerUsage& usage);

/// A fresh "chatcmpl-…", "cmpl-…", …: `prefix` and random letters and digits. Any thread.
std::string random_id(std::string_view prefix, int letters = 24);
/// Of a tool call's id, without a prefix: Mistral's templates take no other.
inline constexpr int kCallIdLetters = 9;

}  // namespace mlxk
