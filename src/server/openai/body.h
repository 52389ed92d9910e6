#pragma once

#include <string>
#include <string_view>

#include "json/json.h"

namespace mlxk {

/// A request's body, or (named by `param`) the text of an object within one. Throws ApiError 400 naming the place of
/// the error: syntax (NaN, 1e400 and lone surrogates too), a key given twice, more than 64 levels, 20,000 keys in an
/// object or 2,000,000 values. In linear time.
Json parse_object(std::string_view text, const std::string& param = {});
inline Json parse_body(std::string_view text) { return parse_object(text); }

}  // namespace mlxk
