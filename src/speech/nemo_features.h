#pragma once

#include <filesystem>

#include "json/json_fwd.h"
#include "media/nemo_mel.h"

namespace mlxk {

/// The features that the `preprocessor` section of NeMo's configuration asks for; throws bad_model or unsupported
/// naming the key.
NemoMelOptions nemo_mel(const Json& config);

/// Those of the preprocessor_config.json of a NeMo model in transformers' form; likewise.
NemoMelOptions transformers_mel(const std::filesystem::path& dir);

}  // namespace mlxk
