#pragma once

#include <string_view>

#include "json/json.h"

namespace mlxk {

/// The version of the CLI's JSON API.
inline constexpr const char* kJsonApiVersion = "0.2.3";

/// {"status":"success","command":…,"data":…,"error":null}
Json success_envelope(std::string_view command, Json data);

/// {"status":"error","command":…,"data":null,"error":{"type":…,"message":…,…}}; an empty command is null, `extra`
/// (an object) adds keys to the error.
Json error_envelope(std::string_view command, std::string_view type, std::string_view message,
                    const Json& extra = Json::object());

}  // namespace mlxk
