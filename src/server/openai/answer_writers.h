#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "server/answer/answer_writer.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// The common fields of every document and chunk of an answer.
struct AnswerHead {
  enum class Kind { chat, completion } kind = Kind::chat;
  std::string id;     // "chatcmpl-…", "cmpl-…"
  std::string model;  // as requested
  int64_t created = 0;
  bool logprobs = false;
  std::shared_ptr<const Tokenizer> tokenizer;  // spells tokens
};

/// Chunks as server-sent events. With `include_usage` the last one has the usage.
std::unique_ptr<AnswerWriter> make_answer_stream(AnswerHead head, bool include_usage);

/// One document.
std::unique_ptr<AnswerWriter> make_answer_document(AnswerHead head);

/// "stop", "length" or "tool_calls".
std::string_view finish_reason_name(AnswerFinish finish);

/// Appends {"prompt_tokens", "completion_tokens", "total_tokens", …}.
void append_usage(std::string& out, const AnswerUsage& usage);

/// A fresh "chatcmpl-…", "cmpl-…", …: `prefix` and random letters and digits. Any thread.
std::string random_id(std::string_view prefix, int letters = 24);
/// For a tool call's id, without a prefix: Mistral's templates accept no other.
inline constexpr int kCallIdLetters = 9;

}  // namespace mlxk
