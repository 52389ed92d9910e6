#pragma once

#include <functional>
#include <memory>
#include <string>

#include "models/model.h"
#include "worker/backend.h"

namespace mlxk {

/// A text model that generates with `model`: prefill in chunks between decode steps of all that decode together,
/// pipelined by one. Prompts kept on disk are those of the same `identity` (prefix_identity()). `make_draft`: the draft
/// model; asked where `model` can use one, which is dropped where its own caches cannot forget. Worker thread.
std::unique_ptr<TextModel> make_text_model(std::unique_ptr<Model> model, const LoadOptions& options = {},
                                           const std::string& identity = {},
                                           const std::function<std::unique_ptr<Model>()>& make_draft = {});

}  // namespace mlxk
