#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlxk {

/// The sizes of an embedding model that its callers need.
struct EmbeddingFacts {
  int64_t dimensions = 0;          // the size of its output for a text: a vector's, or the number of labels
  int64_t max_tokens = 0;          // of a text; 0: unknown
  std::vector<std::string> tasks;  // that the weights have adapters for
};

/// One text as its model takes it, special tokens included.
struct EncodedText {
  std::vector<int32_t> ids;
  int32_t prompt_tokens = 0;  // the first ones, which some poolings leave out
  int32_t second_begin = -1;  // of a pair: the first token of type 1; -1: none
  int32_t task = -1;          // an index into EmbeddingFacts::tasks; -1: none
  bool is_cut = false;        // a part of the text was left out
};

/// Texts in, a vector for each out.
struct EmbedRequest {
  std::vector<EncodedText> texts;     // not empty
  std::vector<int32_t> score_tokens;  // for a decoder: its logits after each text are requested, instead of a vector
  std::string cache_scope;            // the client (an API key): scopes take turns
  std::optional<std::chrono::steady_clock::time_point> deadline;  // ends with a failure `deadline` when it passes
};

/// The model's output for a text of the request, [dimensions]. Outputs arrive in any order.
struct VectorEvent {
  size_t index;
  std::vector<float> values;
};

}  // namespace mlxk
