#pragma once

#include <vector>

#include "base/model_kind.h"
#include "json/json.h"
#include "nn/weights.h"

namespace mlxk {

/// The tensors of a checkpoint in mlx-lm's form for the model of `config`, made from `tensors` in any form that its
/// maker accepts: renamed, stacked, split, without unused ones. Nothing is evaluated. Throws bad_model naming tensors
/// that are missing, misshapen or unknown, or a key of config.json; unsupported for a model_type that is not built in.
/// `kind`: text or embedding.
std::vector<Weights::Taken> checkpoint_tensors(const Json& config, Weights::Tensors tensors,
                                               ModelKind kind = ModelKind::text);

}  // namespace mlxk
