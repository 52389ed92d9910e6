#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "media/nemo_mel.h"

namespace mlxk {

/// What a speech model that decodes frame by frame (NeMo's) has beside its weights: the pieces of its vocabulary, and
/// how features are computed. Immutable; any thread.
class FrameVocabulary {
 public:
  /// Reads config.json, of a model in transformers' form also tokenizer.json and preprocessor_config.json. Throws
  /// bad_model or unsupported naming file and key.
  static std::shared_ptr<const FrameVocabulary> load(const std::filesystem::path& model_dir, int64_t vocab_size);
  /// `stride`: features of one frame.
  FrameVocabulary(std::vector<std::string> pieces, const NemoMelOptions& mel, int stride);

  /// The token's text, with a space where a word begins; empty for a special token or none.
  const std::string& text_of(int32_t id) const;
  const NemoMel& mel() const { return mel_; }
  int stride() const { return stride_; }

 private:
  std::vector<std::string> texts_;
  NemoMel mel_;
  int stride_;
};

}  // namespace mlxk
