#pragma once

#include <string>
#include <string_view>

#include "json/json_fwd.h"

namespace mlxk {

/// `object[key]`; null when the key is absent or `object` is not an object. Lives as long as `object`.
const Json& value_at(const Json& object, std::string_view key);

/// `(*object)[key]`; nullptr when the key is absent or `object` is nullptr or not an object. Lives as long as `object`.
const Json* find_member(const Json* object, std::string_view key);

/// `object[key]` as text; empty when the key is absent or the value is not a string.
std::string string_at(const Json& object, std::string_view key);

}  // namespace mlxk
