#pragma once

#include "json/json_fwd.h"

namespace mlxk {

/// `schema` with its objects closed: if `properties` is given and nothing opens the object (`additionalProperties`,
/// `unevaluatedProperties`), only the keys named there and in `required` are allowed. Applies to nested schemas,
/// definitions, references and combinations (`allOf`, `anyOf`, `oneOf`). Every answer that the result accepts is valid
/// for `schema`. Throws invalid if references are nested too deeply.
Json closed_schema(const Json& schema);

}  // namespace mlxk
