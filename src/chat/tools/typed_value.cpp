#include "chat/tools/typed_value.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "chat/blanks.h"

namespace mlxk {

namespace {
constexpr int kMaxAlternatives = 16;  // of a schema's alternatives

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// The schema's name for a type, from the names that models' tools use.
std::string plain_type(const std::string& word) {
  const std::string type = lower(trimmed(word));
  const auto begins = [&](std::string_view prefix) { return type.rfind(prefix, 0) == 0; };
  if (begins("int") || begins("uint") || begins("long") || begins("short") || begins("unsigned")) return "integer";
  if (begins("num") || begins("float") || begins("double")) return "number";
  if (begins("bool") || type == "binary") return "boolean";
  if (begins("dict") || type == "object") return "object";
  if (begins("list") || begins("arr")) return "array";
  if (type == "null" || type == "none") return "null";
  return "string";
}

std::string type_of(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "boolean";
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  if (value.is_array()) return "array";
  return value.is_object() ? "object" : "string";
}

void collect(const Json& schema, int depth, std::set<std::string>& types) {
  if (!schema.is_object() || depth > kMaxAlternatives) return;
  if (const auto type = schema.find("type"); type != schema.end()) {
    if (type->is_string()) types.insert(plain_type(type->get<std::string>()));
    if (type->is_array()) {
      for (const Json& one : *type) {
        if (one.is_string()) types.insert(plain_type(one.get<std::string>()));
      }
    }
  }
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    for (const Json& value : *values) types.insert(type_of(value));
  }
  if (const auto value = schema.find("const"); value != schema.end()) types.insert(type_of(*value));
  for (const char* alternatives : {"anyOf", "oneOf", "allOf"}) {
    const auto found = schema.find(alternatives);
    if (found == schema.end() || !found->is_array()) continue;
    for (const Json& one : *found) collect(one, depth + 1, types);
  }
}

std::set<std::string> types_of(const Json* schema) {
  std::set<std::string> types;
  if (schema) collect(*schema, 0, types);
  return types;
}

std::optional<Json> whole_literal(std::string_view text) {
  text = trimmed(text);
  auto value = take_literal(text);
  if (value && !trimmed(text).empty()) return std::nullopt;
  return value;
}

std::optional<Json> number(std::string_view text, bool whole) {
  const Json value = Json::parse(trimmed(text), nullptr, false);
  if (!value.is_number()) return std::nullopt;
  if (!whole || value.is_number_integer()) return value;
  const double real = value.get<double>();
  if (real != std::floor(real) || std::abs(real) > 9e15) return std::nullopt;
  return Json(static_cast<int64_t>(real));
}

std::optional<Json> boolean(std::string_view text) {
  const std::string word = lower(trimmed(text));
  for (const char* yes : {"true", "1", "yes", "on"}) {
    if (word == yes) return Json(true);
  }
  for (const char* no : {"false", "0", "no", "off"}) {
    if (word == no) return Json(false);
  }
  return std::nullopt;
}
}  // namespace

bool wants_text(const Json* schema, Untyped untyped) {
  const auto types = types_of(schema);
  return types.empty() ? untyped == Untyped::text : types == std::set<std::string>{"string"};
}

Json typed_value(std::string_view text, const Json* schema, Untyped untyped) {
  const auto types = types_of(schema);
  if (types.empty()) {
    if (untyped == Untyped::text) return std::string(text);
    return whole_literal(text).value_or(Json(std::string(text)));
  }
  const auto wants = [&](const char* type) { return types.count(type) > 0; };
  if (wants("null")) {
    const std::string word = lower(trimmed(text));
    if (word == "null" || word == "none" || word == "nil") return nullptr;
  }
  std::optional<Json> value;
  if (wants("integer")) value = number(text, true);
  if (!value && wants("number")) value = number(text, false);
  if (!value && wants("boolean")) value = boolean(text);
  if (!value && (wants("object") || wants("array"))) {
    value = whole_literal(text);
    if (value && !(value->is_object() && wants("object")) && !(value->is_array() && wants("array"))) value.reset();
  }
  if (value) return *value;
  // Nothing matches: if the schema does not allow text, use the type that the text itself suggests.
  if (!wants("string")) value = whole_literal(text);
  return value.value_or(Json(std::string(text)));
}

std::string json_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace mlxk
