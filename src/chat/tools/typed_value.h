#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "json/json.h"

namespace mlxk {

/// How a value without a type in the schema is read.
enum class Untyped {
  text,   // as text
  value,  // as a JSON or Python literal if it is one
};

/// Whether the schema (null: unknown) allows only text.
bool wants_text(const Json* schema, Untyped untyped);

/// The JSON for a value written as text, by the schema of its parameter: the first of integer, number, boolean, object
/// or array, null and string that both the schema and the text allow; text if none does.
Json typed_value(std::string_view text, const Json* schema, Untyped untyped);

/// Parses the JSON or Python literal at the front of `text` and advances `text` past it; nullopt if there is none.
std::optional<Json> take_literal(std::string_view& text);

/// JSON text of `value`; invalid UTF-8 becomes U+FFFD.
std::string json_text(const Json& value);

}  // namespace mlxk
