#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
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

/// How a text that is longer than its model accepts is treated.
enum class Truncate { none, start, end };  // refused; its start, or its end, is left out

/// A text that is too long and must not be cut (invalid).
class TextTooLongForModel : public Error {
 public:
  TextTooLongForModel(int64_t tokens, int64_t most);
};

/// A query for TextEncoder::encode_pair.
struct RankingQuery {
  std::string text;  // for a decoder, with all that precedes the document
  std::vector<int32_t> ids;
};

/// Converts texts to an embedding model's ids, and knows the meaning of its output. Immutable, any thread.
class TextEncoder {
 public:
  /// Reads the tokenizer and the configuration of the model `info`; throws bad_model naming the file.
  static std::shared_ptr<const TextEncoder> load(const ModelInfo& info);

  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  const EmbeddingConfig& config() const { return config_; }           // of an embedder
  const ClassifierConfig& classifier() const { return classifier_; }  // of a reranker or classifier
  /// The longest text, including special tokens; 0: unknown.
  int64_t max_tokens() const { return config_.max_tokens; }

  /// The ids of `prompt` and `text`; if they are too long, the text's start or end is cut. For late interaction, a
  /// query (by the prompt's name) is padded with mask tokens and a document leaves tokens out. Throws invalid for an
  /// empty text, TextTooLongForModel. Calls check_stop().
  EncodedText encode(std::string_view text, const NamedPrompt& prompt, Truncate truncate) const;
  /// As encode(), for a text with one mask token, whose position is EncodedText::masked. Throws invalid if there is
  /// none or more than one.
  EncodedText encode_masked(std::string_view text, Truncate truncate) const;
  /// A query, tokenised once for all of its documents; a decoder gets `instruction`, the task in words (empty: the
  /// usual one). Throws invalid for an empty query. Calls check_stop().
  RankingQuery ranking_query(std::string_view query, std::string_view instruction = {}) const;
  /// The ids of a query and a document for a cross-encoder, or the yes-or-no question to a decoder. If they are too
  /// long, the start or end of the longer one is cut, down to the length of the other, then of both; a decoder's query
  /// is not cut. At most `most` tokens of the document count (0: all). Throws as encode() does.
  EncodedText encode_pair(const RankingQuery& query, std::string_view document, Truncate truncate,
                          int64_t most = 0) const;
  /// As EmbedRequest has it: "no" and "yes" of a decoder that reranks; empty for every other model.
  const std::vector<int32_t>& score_tokens() const { return score_tokens_; }

  /// A text's sparse vector from the model's weights: an id gets the largest weight of its tokens; special tokens and
  /// ids without a positive weight are left out.
  TokenWeights sparse_vector(TokenWeights found) const;

 private:
  int64_t limit_of(const NamedPrompt& prompt) const;
  void add_late_interaction(EncodedText& text, bool is_query) const;
  EncodedText encode_question(const RankingQuery& query, std::string_view document, Truncate truncate,
                              int64_t most) const;
  std::vector<int32_t> ids_of(std::string_view text) const;
  int64_t limit() const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  EmbeddingConfig config_;
  ClassifierConfig classifier_;
  TextFrame frame_;
  std::vector<int32_t> score_tokens_;
  std::optional<int32_t> mask_;
  std::vector<int32_t> skipped_;                    // sorted; tokens of documents that get no vector
  std::vector<int32_t> before_pair_, behind_pair_;  // of a decoder that reranks
};

/// The first `dimensions` numbers of a model's vector (0: all), with `normalize` made one of length 1. Zeros stay.
void finish_vector(std::vector<float>& vector, int64_t dimensions, bool normalize);

/// A classifier's numbers after its activation: of each label.
std::vector<float> activate(const std::vector<float>& logits, ClassifierConfig::Activation activation);

}  // namespace mlxk
