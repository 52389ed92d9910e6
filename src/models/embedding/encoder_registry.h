#pragma once

#include "models/embedding/encoder.h"
#include "models/registry.h"

namespace mlxk {

/// Like find_maker, for encoders. A text decoder can be used as an encoder too (make_decoder_encoder).
Maker<Encoder> find_encoder_maker(std::string_view model_type);

}  // namespace mlxk
