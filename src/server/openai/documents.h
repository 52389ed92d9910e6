#pragma once

#include "json/json_fwd.h"
#include "transport/exchange.h"

namespace mlxk {

/// `document` as a whole answer; invalid UTF-8 in it (names of files) becomes U+FFFD.
HttpResponse json_answer(const Json& document);

// JSON Schemas of the bodies that the endpoints without an answer of a model take.

/// POST /v1/models/load and /v1/models/unload: {"model"}.
const Json& model_name_schema();
const Json& tokenize_schema();
const Json& detokenize_schema();
const Json& apply_template_schema();

/// The document of /openapi.json: OpenAPI 3.1, from the tables that check requests.
const Json& openapi_document();

}  // namespace mlxk
