#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"

namespace mlxk::schema {

// Schemas are JSON Schema (2020-12), as in /openapi.json: the same schema documents and checks a request.

Json boolean();
Json integer(int64_t least, int64_t most);
Json number(double least, double most);
Json text(size_t least = 0, size_t most = 0);  // characters; 0: no limit
Json one_of(std::initializer_list<std::string_view> values);
Json array(Json items, size_t least, size_t most);
/// Any keys with any values.
Json object();
/// `properties`: name → schema. Keys that it lacks are allowed and reported as unknown.
Json object(Json properties, std::initializer_list<std::string_view> required = {});
Json any_of(std::vector<Json> schemas);
/// Only null and the values of `harmless`, which request the default behaviour; `reason` names an alternative.
Json unsupported(std::string_view reason, const Json& harmless = Json::array());
/// `schema`, or null.
Json nullable(Json schema);
/// `schema` with more keywords: {"default": …, "description": …}.
Json with(Json schema, const Json& keywords);
Json with_default(Json schema, const Json& value);

/// The one "pattern" that check() supports: valid function names.
inline constexpr const char* kNamePattern = "^[A-Za-z0-9_.-]+$";

/// The first thing that is wrong with a value.
struct Violation {
  std::string path;     // "messages[2].content"; empty: the value itself
  std::string message;  // "top_p must be a number from 0 to 1, got 3"
  std::string code;     // invalid_value, missing_required_parameter, unsupported_parameter
};

struct Checked {
  std::optional<Violation> violation;
  std::vector<std::string> unknown;  // paths of keys that no schema names; at most 16
};

/// Validates `value`, at `path` of a body, by `schema`, which is made of the functions above. In time linear in the
/// size of `value`.
Checked check(const Json& schema, const Json& value, const std::string& path = {});

/// `text` as a message shows it: quoted, cut after some `most` bytes, control characters replaced.
std::string shown(std::string_view text, size_t most = 40);

}  // namespace mlxk::schema
