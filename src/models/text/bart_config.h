#pragma once

#include <string>

#include "models/text/decoder.h"
#include "nn/config.h"

namespace mlxk {

// BART's table of positions begins with two entries that no token has.
constexpr int kBartFirstPosition = 2;

/// The sizes of one half of BART (https://arxiv.org/abs/1910.13461) in its configuration, with the defaults of
/// transformers' class. `half`: "encoder" or "decoder". Throws bad_model naming the key.
DecoderConfig read_bart(const Config& bart, const std::string& half);

}  // namespace mlxk
