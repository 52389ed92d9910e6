#pragma once

#include <cstdint>

#include "models/media_encoder.h"
#include "models/model.h"

namespace mlxk {

/// The encoders of an encoder-decoder. The decoder reads none of the prompt's tokens: it attends to their encoded
/// vectors (cross-attention) from its first token on. Constant after loading; every call on the worker thread.
class PromptEncoder : public MediaEncoder {
 public:
  /// The token with which the decoder begins.
  virtual int32_t decoder_start_token() const = 0;
  /// Vectors of a whole prompt [1, L, hidden], with the features of its images in it → features [L, hidden]. Throws
  /// invalid for a prompt that is too long.
  virtual EncodedMedia encode_prompt(const mx::array& embeddings) const = 0;
};

/// The encoders of an encoder-decoder; null: the model is a decoder alone.
inline const PromptEncoder* prompt_encoder(const Model& model) {
  return dynamic_cast<const PromptEncoder*>(model.media_encoder());
}

}  // namespace mlxk
