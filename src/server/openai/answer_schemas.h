#pragma once

#include "json/json_fwd.h"

namespace mlxk {

/// The endpoints' answers as JSON Schemas: name → schema, for components/schemas of /openapi.json. They refer to one
/// another as "#/components/schemas/<name>".
Json answer_schemas();

/// {"$ref": "#/components/schemas/<name>"}.
Json schema_ref(const char* name);

}  // namespace mlxk
