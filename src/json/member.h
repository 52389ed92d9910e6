#pragma once

#include <string>
#include <string_view>

#include "json/json.h"

namespace mlxk {

/// `object[key]`, or null when absent or `object` is none; lives as long as `object`.
const Json& value_at(const Json& object, std::string_view key);

/// `(*object)[key]`, or nullptr when absent or `object` is nullptr or none; lives as long as `object`.
const Json* find_member(const Json* object, std::string_view key);

/// `object[key]` as text; empty when absent or not a string.
std::string string_at(const Json& object, std::string_view key);

}  // namespace mlxk
