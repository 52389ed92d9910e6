#pragma once

#include "speech/seq2seq_vocabulary.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// Moonshine's: it reads raw samples, and is told nothing.
class MoonshineVocabulary : public Seq2SeqVocabulary {
 public:
  /// Reads the tokenizer and config.json of the model in `model_dir`; throws bad_model naming the key.
  static std::shared_ptr<const MoonshineVocabulary> load(const std::filesystem::path& model_dir, int64_t vocab_size);
  /// `start` and `end`: the tokens that begin and end a text.
  MoonshineVocabulary(std::shared_ptr<const Tokenizer> tokenizer, int32_t start, int32_t end)
      : tokenizer_(std::move(tokenizer)), start_(start), end_(end) {}

  std::vector<float> features(std::span<const float> samples) const override;
  std::vector<int32_t> prompt(const TranscribeOptions& /*options*/) const override { return {start_}; }
  int32_t end() const override { return end_; }
  std::string decode(std::span<const int32_t> tokens) const override { return tokenizer_->decode(tokens, true); }
  const std::vector<std::string>& languages() const override;
  std::string spoken(const TranscribeOptions& /*options*/) const override { return {}; }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  int32_t start_, end_;
};

}  // namespace mlxk
