#pragma once

#include <filesystem>
#include <vector>

#include "repair/repair.h"

namespace mlxk {

/// The rules, each for the model in `folder`, which they change; they append their results to `findings`.

/// Rewrites model.safetensors.index.json from the headers of all *.safetensors; returns false, and removes any index,
/// if there are fewer than two. Throws bad_model for a broken header or a tensor that is in two files.
bool rebuild_index(const std::filesystem::path& folder, std::vector<Finding>& findings);

/// The same if the index is missing, broken or does not match.
void repair_index(const std::filesystem::path& folder, std::vector<Finding>& findings);

/// eos_token_id of config.json and generation_config.json and eos_token of tokenizer_config.json, each from the others.
void repair_eos(const std::filesystem::path& folder, std::vector<Finding>& findings);

/// Values that the preprocessor of a vision model of a known type needs, from config.json or as published.
void repair_preprocessor(const std::filesystem::path& folder, std::vector<Finding>& findings);

}  // namespace mlxk
