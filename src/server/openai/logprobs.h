#pragma once

#include <span>
#include <string>

#include "server/answer/answer_delta.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// Appends OpenAI's entries of a chat answer's tokens, {"token","logprob","bytes","top_logprobs"}, with commas between.
void append_chat_logprobs(std::string& out, std::span<const ScoredToken> scores, const Tokenizer& tokenizer);

/// Appends OpenAI's object of a completion's tokens, {"tokens","token_logprobs","top_logprobs","text_offset"}.
void append_completion_logprobs(std::string& out, std::span<const ScoredToken> scores, const Tokenizer& tokenizer);

}  // namespace mlxk
