#pragma once

#include <functional>
#include <memory>
#include <string>

#include "models/model.h"
#include "worker/backend.h"

namespace mlxk {

/// A text model that generates with `model`: it prefills in chunks between the decode steps of all running completions,
/// and pipelines one step. Cached prompts on disk belong to the same `identity` (prefix_identity()). `make_draft` makes
/// the draft model; it is called only if `model` can use one, and the result is dropped if its caches cannot be
/// trimmed. Worker thread.
std::unique_ptr<TextModel> make_text_model(std::unique_ptr<Model> model, const LoadOptions& options = {},
                                           const std::string& identity = {},
                                           const std::function<std::unique_ptr<Model>()>& make_draft = {});

}  // namespace mlxk
