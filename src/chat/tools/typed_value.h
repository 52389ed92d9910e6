#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json/json.h"

namespace mlxk {

/// How a value without a type in the schema is read.
enum class Untyped {
  text,   // as it stands
  value,  // as JSON or a Python literal where it is one
};

/// Whether the schema (null: unknown) wants text and nothing else.
bool wants_text(const Json* schema, Untyped untyped);

/// A value written as text, as the JSON that the schema of its parameter wants: the first of integer, number, boolean,
/// object or array, null and string that both the schema and the text allow; text where none does.
Json typed_value(std::string_view text, const Json* schema, Untyped untyped);

/// The JSON or Python literal at the front of `text`, which is then behind it; nullopt where there is none.
std::optional<Json> take_literal(std::string_view& text);

/// JSON text of `value`; what is no UTF-8 becomes U+FFFD.
std::string json_text(const Json& value);

}  // namespace mlxk
