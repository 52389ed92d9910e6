#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "json/member.h"
#include "probe/files.h"

namespace mlxk {

/// Reads a small JSON file of the model (at most 16 MB); null if it is absent or not a JSON object. Never throws.
Json read_json_object(const ModelFiles& files, std::string_view name);

/// Whether `object[key]` is an object with at least one key.
bool has_object(const Json& object, std::string_view key);

/// config.json's model_type. NeMo's configurations have none: that of the model that their parts or
/// `target` name.
std::string model_type_of(const Json& config);

std::string lower_case(std::string_view text);
bool contains(std::string_view text, std::string_view part);

}  // namespace mlxk
