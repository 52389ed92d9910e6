#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// A prompt that leaves no room for an answer in the model's context (invalid).
class ContextFull : public Error {
 public:
  ContextFull(int64_t prompt_tokens, int64_t context);
  /// For a prompt whose encoding stopped at the limit; `context` 0: unknown.
  ContextFull(const TextTooLong& error, int64_t context);
};

/// Returns `encode(max_tokens)`, with `max_tokens` equal to `context`, or no limit if that is 0 (unknown). A
/// TextTooLong becomes ContextFull.
template <class Encode>
auto encode_within(int64_t context, Encode encode) {
  try {
    return encode(context > 0 ? static_cast<size_t>(context) : Tokenizer::kNoLimit);
  } catch (const TextTooLong& e) {
    throw ContextFull(e, context);
  }
}

/// The most tokens that an answer may have: `asked`, else `fallback`, and never more than the prompt leaves of
/// `context` (0: unknown). Throws ContextFull.
int64_t max_new_tokens_for(int64_t context, int64_t prompt_tokens, std::optional<int64_t> asked, int64_t fallback);

}  // namespace mlxk
