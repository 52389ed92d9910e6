#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mlxk {

/// The outputs of an embedding model and their sizes.
struct EmbeddingFacts {
  int64_t dimensions = 0;          // the size of its output for a text: a vector's, or the number of labels; 0: none
  int64_t max_tokens = 0;          // of a text; 0: unknown
  std::vector<std::string> tasks;  // that the weights have adapters for
  int64_t token_dimensions = 0;    // of a token's vector for late interaction; 0: none
  bool sparse = false;             // has sparse vectors
  bool predicts_tokens = false;    // has a masked language model head
};

/// One text as its model takes it, special tokens included.
struct EncodedText {
  std::vector<int32_t> ids;
  int32_t prompt_tokens = 0;                 // the first ones, which some poolings leave out
  int32_t second_begin = -1;                 // of a pair: the first token of type 1; -1: none
  int32_t task = -1;                         // an index into EmbeddingFacts::tasks; -1: none
  bool is_cut = false;                       // a part of the text was left out
  int32_t attended = 0;                      // the number of first tokens that are attended to; 0: all
  int32_t masked = -1;                       // the position whose token is predicted; -1: none
  std::vector<int32_t> without_vector = {};  // positions, ascending, whose tokens get no vector of their own
};

/// The outputs to compute for each text.
struct EmbedOutputs {
  bool vector = true;  // the text's vector, [EmbeddingFacts::dimensions]
  bool sparse = false, token_vectors = false;
  int predictions = 0;  // the number of likeliest tokens at its `masked` position
  friend bool operator==(const EmbedOutputs&, const EmbedOutputs&) = default;
};

/// Ids of the vocabulary, each with a number.
struct TokenWeights {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

/// The model's output for a text; what was not requested is empty.
struct TextNumbers {
  std::vector<float> vector = {};         // [dimensions]
  TokenWeights sparse = {};               // BGE-M3: an id per token; SPLADE: the ids whose weight is above zero
  std::vector<float> token_vectors = {};  // [tokens, token_dimensions]
  TokenWeights predictions = {};          // probabilities, the largest first
};

/// Texts in, a vector for each out.
struct EmbedRequest {
  std::vector<EncodedText> texts;  // not empty
  EmbedOutputs outputs = {};
  std::vector<int32_t> score_tokens;  // for a decoder: its logits after each text are requested, instead of a vector
  std::string cache_scope;            // the client (an API key): scopes take turns
  std::optional<std::chrono::steady_clock::time_point> deadline;  // ends with a failure `deadline` when it passes
};

/// The model's output for a text of the request. Outputs arrive in any order.
struct VectorEvent {
  size_t index;
  TextNumbers numbers;
};

}  // namespace mlxk
