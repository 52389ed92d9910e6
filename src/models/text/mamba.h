#pragma once

#include <memory>
#include <optional>

#include "models/text/decoder.h"
#include "nn/mamba.h"

namespace mlxk {

/// The common parts of models with Mamba mixers.

/// The keys of config.json that describe a Mamba-2 mixer.
struct Mamba2Keys {
  const char *heads, *head_dim, *groups, *state_size, *kernel;
  const char *conv_bias, *in_bias, *out_bias;
};

/// Reads those and time_step_limit, for layers like c's; a head_dim that is absent or "auto" is derived from
/// mamba_d_ssm or mamba_expand. Throws bad_model naming the key.
Mamba2Config read_mamba2(const Config& config, const DecoderConfig& c, const Mamba2Keys& keys);

/// A layer that is a mixer, which norms and adds the residual.
std::unique_ptr<DecoderLayer> mixer_layer(MambaResidual mixer);
std::unique_ptr<DecoderLayer> mixer_layer(Mamba2Residual mixer);

/// time_step_rank, or another key with that meaning: "auto" is hidden_size / 16, rounded up.
int read_time_step_rank(const Config& config, const char* key, int hidden_size);

}  // namespace mlxk
