#pragma once

#include "json/json_fwd.h"

namespace mlxk {

/// `schema` with its objects closed: where `properties` is given and nothing opens the object (`additionalProperties`,
/// `unevaluatedProperties`), no other keys may come than those named there and in `required`. Goes through nested
/// schemas, definitions, references and combinations (`allOf`, `anyOf`, `oneOf`). Every answer that the result accepts
/// is one of `schema`. Throws invalid where references lead too deep.
Json closed_schema(const Json& schema);

}  // namespace mlxk
