#pragma once

#include "models/embedding/encoder.h"
#include "models/registry.h"

namespace mlxk {

/// As find_maker, of encoders. A decoder of text can be used as one too (make_decoder_encoder).
Maker<Encoder> find_encoder_maker(std::string_view model_type);

}  // namespace mlxk
