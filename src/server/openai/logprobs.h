#pragma once

#include <span>
#include <string>

#include "server/openai/answer_delta.h"

namespace mlxk {

/// Appends OpenAI's entries of a chat answer's tokens, {"token","logprob","bytes","top_logprobs"}, with commas between.
void append_chat_logprobs(std::string& out, std::span<const ScoredToken> scores, const Tokenizer& tokenizer);

/// Appends OpenAI's object of a completion's tokens, {"tokens","token_logprobs","top_logprobs","text_offset"}.
void append_completion_logprobs(std::string& out, std::span<const ScoredToken> scores, const Tokenizer& tokenizer);

/// The characters of `bytes`, counted where each begins.
int64_t count_characters(std::string_view bytes);

}  // namespace mlxk
