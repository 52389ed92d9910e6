#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "speech/options.h"

namespace mlxk {

/// What a speech model with an encoder and a decoder (Moonshine, Canary) has beside its weights. Immutable; any thread.
class Seq2SeqVocabulary {
 public:
  virtual ~Seq2SeqVocabulary() = default;

  /// The encoder's input for a window of sound at 16 kHz; empty: it is too short to have a text.
  virtual std::vector<float> features(std::span<const float> samples) const = 0;
  /// The tokens before a window's text.
  virtual std::vector<int32_t> prompt(const TranscribeOptions& options) const = 0;
  /// The token that ends a text.
  virtual int32_t end() const = 0;
  /// The text of tokens, without special ones.
  virtual std::string decode(std::span<const int32_t> tokens) const = 0;
  /// The codes of the languages that the model is told, both the spoken and the written one; none: it is not told.
  virtual const std::vector<std::string>& languages() const = 0;
  /// The code of the language that it is told is spoken; empty if it is not told.
  virtual std::string spoken(const TranscribeOptions& options) const = 0;
};

}  // namespace mlxk
