#pragma once

#include <vector>

#include "json/json.h"
#include "nn/weights.h"

namespace mlxk {

/// The tensors that a checkpoint of the text model of `config` holds in mlx-lm's form, made of `tensors`, those of any
/// form that its maker takes: renamed, stacked, split, without what is not used. Nothing is evaluated. Throws bad_model
/// naming tensors that are missing, misshapen or unknown, or a key of config.json; unsupported for a model_type that is
/// not built in.
std::vector<Weights::Taken> checkpoint_tensors(const Json& config, Weights::Tensors tensors);

}  // namespace mlxk
