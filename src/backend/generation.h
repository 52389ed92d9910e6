#pragma once

#include <memory>

#include "models/model.h"
#include "worker/backend.h"

namespace mlxk {

/// A text model that generates with `model`: prefill in chunks between decode steps of all that decode together, pipelined
/// by one. Worker thread.
std::unique_ptr<TextModel> make_text_model(std::unique_ptr<Model> model, const TextModelOptions& options = {});

}  // namespace mlxk
