#pragma once

#include <string>

#include "policy/policy.h"

namespace mlxk {

struct LoadOptions;
struct ModelFacts;

/// Finds the draft model `spec` for `target`: a text model that Policy allows, with the vocabulary of `target`. Reads
/// no weights; warns if the draft will hardly help. Throws not_found, ambiguous, what Policy blocks, bad_model, and
/// invalid if the vocabularies differ.
ModelInfo find_draft(const std::string& spec, const ModelInfo& target, const Machine& machine, Context context);

/// Logs, after the load of `model`, which of the drafts that `options` ask for are impossible.
void log_speculation(const std::string& model, const LoadOptions& options, const ModelFacts& facts);

}  // namespace mlxk
