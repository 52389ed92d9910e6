#pragma once

#include <memory>

#include "models/embedding/encoder.h"
#include "nn/config.h"
#include "nn/weights.h"

namespace mlxk {

/// The text decoder that config.json names, as an encoder. Tensors may lack the prefix `model.`, and the head may be
/// absent. Tokens see each other in both directions if config.json says so (is_causal false,
/// use_bidirectional_attention, or a bidirectional model_type). `score`, a classification head, reads a text's last
/// token.
std::unique_ptr<Encoder> make_decoder_encoder(const Config& config, Weights& weights);

}  // namespace mlxk
