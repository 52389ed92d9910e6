#pragma once

#include <map>

#include "json/json_fwd.h"
#include "media/nemo_mel.h"
#include "speech/seq2seq_vocabulary.h"

namespace mlxk {

/// Canary's: NeMo's features, and a prompt of special tokens that say which language is spoken and which one to write.
class CanaryVocabulary : public Seq2SeqVocabulary {
 public:
  /// Reads config.json and the vocabulary beside it: tokenizer.json, the SentencePiece models of `tokenizer.langs` one
  /// after the other, tokenizer.model, tokens.txt, or the model inside `tokenizer.model_base64`; of a model in
  /// transformers' form also preprocessor_config.json. Throws bad_model or unsupported naming file and key.
  static std::shared_ptr<const CanaryVocabulary> load(const std::filesystem::path& model_dir, int64_t vocab_size);
  /// `pieces` without one of the prompt's tokens throw bad_model naming `place`. Of `languages` those with a token
  /// count.
  CanaryVocabulary(const std::vector<std::string>& pieces, const std::vector<std::string>& languages, NemoMel features,
                   const std::string& place);

  std::vector<float> features(std::span<const float> samples) const override;
  /// Punctuation and capitals unless options.itn is false.
  std::vector<int32_t> prompt(const TranscribeOptions& options) const override;
  int32_t end() const override { return end_; }
  std::string decode(std::span<const int32_t> tokens) const override;
  const std::vector<std::string>& languages() const override { return languages_; }
  /// English unless options.language says otherwise.
  std::string spoken(const TranscribeOptions& options) const override;

 private:
  std::vector<std::string> texts_, languages_;
  std::map<std::string, int32_t> language_tokens_;
  NemoMel features_;
  std::vector<int32_t> begin_;  // before the languages
  int32_t punctuation_, no_punctuation_;
  std::vector<int32_t> rest_;  // after the punctuation
  int32_t end_;
};

/// The languages that Canary's config.json names, else the 25 of canary-1b-v2, as codes.
std::vector<std::string> canary_languages(const Json& config);

}  // namespace mlxk
