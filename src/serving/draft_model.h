#pragma once

#include <string>

#include "policy/policy.h"
#include "worker/backend.h"

namespace mlxk {

/// The model that `spec` names as draft for `target`: a text model that Policy lets run and whose tokens are
/// `target`'s. Reads no weights; warns where it will not help. Throws not_found, ambiguous, what Policy blocks, invalid
/// where the vocabularies differ, bad_model.
ModelInfo find_draft(const std::string& spec, const ModelInfo& target, const Machine& machine, Context context);

/// Logs once, when `model` was loaded, where the guesses that `options` ask for cannot be had.
void log_speculation(const std::string& model, const LoadOptions& options, const ModelFacts& facts);

}  // namespace mlxk
