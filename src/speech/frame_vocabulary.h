#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "speech/options.h"

namespace mlxk {

/// Computes the features of a whole recording at 16 kHz.
using FrameFeatures = std::function<std::vector<float>(std::span<const float>)>;

/// What a speech model that decodes frame by frame (NeMo's, SenseVoice) has beside its weights: the pieces of its
/// vocabulary, and how features are computed. Immutable; any thread.
class FrameVocabulary {
 public:
  /// Reads config.json, of a model in transformers' form also tokenizer.json and preprocessor_config.json, of
  /// SenseVoice its vocabulary and am.mvn. Throws bad_model or unsupported naming file and key.
  static std::shared_ptr<const FrameVocabulary> load(const std::filesystem::path& model_dir, int64_t vocab_size);
  /// `hop`: samples of one frame. `tagged`: as SenseVoice.
  FrameVocabulary(std::vector<std::string> pieces, FrameFeatures features, int hop, bool tagged = false);

  /// The token's text, with a space where a word begins; empty for a special token or none.
  const std::string& text_of(int32_t id) const;
  const FrameFeatures& features() const { return features_; }
  int hop() const { return hop_; }

  /// The frames before a window's first that name its language, emotion and event: 4 of SenseVoice, else none.
  int tag_frames() const { return tags_.empty() ? 0 : 4; }
  /// The X of a token `<|X|>` of SenseVoice; empty for another token.
  const std::string& tag_of(int32_t id) const;
  /// Whether the model can be told that `language`, a code or name, is spoken.
  bool can_be_told(const std::string& language) const;
  /// What SenseVoice's encoder is told by `options`, whose language it can be told; empty for other models.
  std::vector<int32_t> conditions(const TranscribeOptions& options) const;

 private:
  std::vector<std::string> texts_, tags_;
  FrameFeatures features_;
  int hop_;
};

}  // namespace mlxk
