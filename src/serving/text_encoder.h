#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "probe/embedding_config.h"
#include "probe/model_info.h"
#include "tokenizer/text_frame.h"
#include "tokenizer/tokenizer.h"
#include "worker/embedding.h"

namespace mlxk {

/// What becomes of a text that is longer than its model takes.
enum class Truncate { none, start, end };  // refused; its start, or its end, is left out

/// A text that is too long and must not be cut (invalid).
class TextTooLongForModel : public Error {
 public:
  TextTooLongForModel(int64_t tokens, int64_t most);
};

/// What turns texts into an embedding model's ids, and says what its numbers mean. Immutable, any thread.
class TextEncoder {
 public:
  /// Reads the tokenizer and the configuration of the model `info`; throws bad_model naming the file.
  static std::shared_ptr<const TextEncoder> load(const ModelInfo& info);

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const EmbeddingConfig& config() const { return config_; }           // of an embedder
  const ClassifierConfig& classifier() const { return classifier_; }  // of a reranker or classifier
  /// Of a text, special tokens included; 0: unknown.
  int64_t max_tokens() const { return config_.max_tokens; }

  /// The ids of `prompt` and `text`; of what is too long the text's start or end is left out. Throws invalid for an
  /// empty text, TextTooLongForModel. Asks check_stop().
  EncodedText encode(std::string_view text, std::string_view prompt, Truncate truncate) const;
  /// The ids of a query and a document, as a cross-encoder takes them, or as a decoder that answers yes or no is asked
  /// (with `instruction`, the task in words; empty: the usual one). Of what is too long the start or end of the longer
  /// one is left out, down to the length of the other, then of both; a decoder's query stays. Of the document at most
  /// `most` tokens count (0: all).
  EncodedText encode_pair(std::string_view query, std::string_view document, Truncate truncate, int64_t most = 0,
                          std::string_view instruction = {}) const;
  /// As EmbedRequest has it: "no" and "yes" of a decoder that reranks; empty for every other model.
  const std::vector<int32_t>& score_tokens() const { return score_tokens_; }

 private:
  EncodedText encode_question(std::string_view query, std::string_view document, Truncate truncate, int64_t most,
                              std::string_view instruction) const;
  std::vector<int32_t> ids_of(std::string_view text) const;
  int64_t limit() const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  EmbeddingConfig config_;
  ClassifierConfig classifier_;
  TextFrame frame_;
  std::vector<int32_t> score_tokens_;
  std::vector<int32_t> before_pair_, behind_pair_;  // of a decoder that reranks
};

/// The first `dimensions` numbers of a model's vector (0: all), with `normalize` made one of length 1. Zeros stay.
void finish_vector(std::vector<float>& vector, int64_t dimensions, bool normalize);

/// A classifier's numbers after its activation: of each label.
std::vector<float> activate(const std::vector<float>& logits, ClassifierConfig::Activation activation);

}  // namespace mlxk
