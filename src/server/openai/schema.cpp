#include "server/openai/schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace mlxk::schema {

Json boolean() { return {{"type", "boolean"}}; }

Json integer(int64_t least, int64_t most) { return {{"type", "integer"}, {"minimum", least}, {"maximum", most}}; }

Json number(double least, double most) { return {{"type", "number"}, {"minimum", least}, {"maximum", most}}; }

Json text(size_t least, size_t most) {
  Json schema = {{"type", "string"}};
  if (least > 0) schema["minLength"] = least;
  if (most > 0) schema["maxLength"] = most;
  return schema;
}

Json one_of(std::initializer_list<std::string_view> values) {
  return {{"type", "string"}, {"enum", Json(std::vector<std::string>(values.begin(), values.end()))}};
}

Json array(Json items, size_t least, size_t most) {
  return {{"type", "array"}, {"items", std::move(items)}, {"minItems", least}, {"maxItems", most}};
}

Json object() { return {{"type", "object"}}; }

Json object(Json properties, std::initializer_list<std::string_view> required) {
  Json schema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (required.size() > 0) schema["required"] = Json(std::vector<std::string>(required.begin(), required.end()));
  return schema;
}

Json any_of(std::vector<Json> schemas) { return {{"anyOf", Json(std::move(schemas))}}; }

Json unsupported(std::string_view reason, const Json& harmless) {
  Json values = Json::array({nullptr});
  for (const Json& value : harmless) values.push_back(value);
  return {{"enum", std::move(values)}, {"description", reason}};
}

Json nullable(Json schema) {
  if (schema.contains("anyOf")) {
    schema["anyOf"].push_back({{"type", "null"}});
  } else if (schema.contains("type") && schema["type"] != "null") {
    schema["type"] = Json::array({schema.at("type"), "null"});
    if (schema.contains("enum")) schema["enum"].push_back(nullptr);
  }
  return schema;
}

Json with(Json schema, const Json& keywords) {
  schema.update(keywords);
  return schema;
}

Json with_default(Json schema, const Json& value) { return with(std::move(schema), {{"default", value}}); }

namespace {

constexpr size_t kMaxUnknown = 16;
constexpr double kExactIntegers = 9007199254740992.0;  // 2^53

std::string_view type_name(const Json& value) {
  if (value.is_null()) return "null";
  if (value.is_boolean()) return "boolean";
  if (value.is_string()) return "string";
  if (value.is_array()) return "array";
  if (value.is_object()) return "object";
  if (!value.is_number_float()) return "integer";
  const double x = value.get<double>();
  return std::trunc(x) == x && std::abs(x) <= kExactIntegers ? "integer" : "number";
}

bool is_type(const Json& value, std::string_view wanted) {
  const std::string_view type = type_name(value);
  return type == wanted || (wanted == "number" && type == "integer");
}

std::string describe_value(const Json& value) {
  if (value.is_string()) return shown(value.get_ref<const std::string&>());
  if (value.is_array()) return fmt::format("an array of {}", value.size());
  if (value.is_object()) return "an object";
  if (value.is_number_float() && !std::isfinite(value.get<double>())) return "a number that is not finite";
  return value.dump();
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    text += i == 0 ? "" : i + 1 == words.size() ? " or " : ", ";
    text += words[i];
  }
  return text;
}

std::string counted(std::string_view what, const Json& schema, const char* least, const char* most,
                    std::string_view of_what) {
  const bool from = schema.contains(least), to = schema.contains(most);
  if (from && to) return fmt::format("{} of {} to {} {}", what, schema[least].dump(), schema[most].dump(), of_what);
  if (to) return fmt::format("{} of at most {} {}", what, schema[most].dump(), of_what);
  if (from) return fmt::format("{} of at least {} {}", what, schema[least].dump(), of_what);
  return std::string(what);
}

std::string describe_type(std::string_view type, const Json& schema) {
  if (type == "boolean") return "true or false";
  if (type == "string" && schema.contains("pattern")) return "a name of 1 to 64 letters, digits, _, . and -";
  if (type == "string") return counted("a string", schema, "minLength", "maxLength", "characters");
  if (type == "array") return counted("an array", schema, "minItems", "maxItems", "items");
  if (type == "object")
    return schema.contains("maxProperties")
               ? fmt::format("an object of at most {} keys", schema["maxProperties"].dump())
               : "an object";
  if (type == "null") return "null";
  const std::string what = type == "integer" ? "an integer" : "a number";
  if (!schema.contains("minimum")) return what;
  const auto bound = [&](const char* key) { return fmt::format("{}", schema[key].get<double>()); };
  if (schema["maximum"].get<double>() >= kExactIntegers) return what + " of 64 bits";
  return fmt::format("{} from {} to {}", what, bound("minimum"), bound("maximum"));
}

/// The values that `schema` allows, in words; null is not mentioned.
std::vector<std::string> alternatives(const Json& schema) {
  std::vector<std::string> words;
  const auto add = [&](const std::string& word) {
    if (std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
  };
  if (schema.contains("anyOf")) {
    for (const Json& branch : schema["anyOf"]) {
      if (branch.value("type", Json()) == "null") continue;
      for (const std::string& word : alternatives(branch)) add(word);
    }
  } else if (schema.contains("enum")) {
    for (const Json& value : schema["enum"]) {
      if (!value.is_null()) add(value.dump());
    }
  } else if (schema.at("type").is_string()) {
    add(describe_type(schema["type"].get<std::string>(), schema));
  } else {
    for (const Json& type : schema["type"]) {
      if (type != "null") add(describe_type(type.get<std::string>(), schema));
    }
  }
  return words;
}

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
}

size_t characters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

bool within(size_t count, const Json& schema, const char* least, const char* most) {
  return count >= schema.value(least, size_t{0}) && count <= schema.value(most, SIZE_MAX);
}

/// Whether `value`, whose type is right, keeps to the keywords of its type.
bool keeps_limits(const Json& schema, const Json& value) {
  if (schema.contains("enum") &&
      std::find(schema["enum"].begin(), schema["enum"].end(), value) == schema["enum"].end()) {
    return false;
  }
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (schema.contains("pattern") && !std::all_of(text.begin(), text.end(), is_name_character)) return false;
    return (!schema.contains("minLength") && !schema.contains("maxLength")) ||
           within(characters(text), schema, "minLength", "maxLength");
  }
  if (value.is_array()) return within(value.size(), schema, "minItems", "maxItems");
  if (value.is_object()) return within(value.size(), schema, "minProperties", "maxProperties");
  if (!value.is_number()) return true;
  if (value.is_number_float()) {
    const double x = value.get<double>();
    return std::isfinite(x) && (!schema.contains("minimum") ||
                                (x >= schema["minimum"].get<double>() && x <= schema["maximum"].get<double>()));
  }
  // Past 63 bits the library's own comparison would wrap.
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return false;
  return !schema.contains("minimum") || (value >= schema["minimum"] && value <= schema["maximum"]);
}

/// One walk over a value; `good` counts the values that were right, to tell which branch of an anyOf was meant.
class Walk {
 public:
  bool check(const Json& schema, const Json& value) {
    if (schema.contains("anyOf")) return check_any(schema, value);
    if (!schema.contains("type")) return keeps_limits(schema, value) || refuse_unsupported(schema);
    if (!has_type(schema["type"], value) || !keeps_limits(schema, value)) return refuse(schema, value);
    ++good;
    if (value.is_array() && schema.contains("items")) return check_items(schema["items"], value);
    if (value.is_object() && schema.contains("properties")) return check_properties(schema, value);
    if (value.is_object() && schema.contains("additionalProperties")) {
      for (const auto& one : value.items()) {  // clang 14 lets no lambda have the names of a structured binding
        if (!at_key(one.key(), [&] { return check(schema["additionalProperties"], one.value()); })) return false;
      }
    }
    return true;
  }

  std::string path;
  std::optional<Violation> violation;
  std::vector<std::string> expected;  // of the violation, if it says what is required
  std::string got;
  std::vector<std::string> unknown;
  size_t good = 0;

 private:
  static bool has_type(const Json& type, const Json& value) {
    if (type.is_string()) return is_type(value, type.get_ref<const std::string&>());
    return std::any_of(type.begin(), type.end(),
                       [&](const Json& one) { return is_type(value, one.get_ref<const std::string&>()); });
  }

  template <class Check>
  bool at_key(const std::string& key, Check check_item) {
    const size_t length = path.size();
    path += (path.empty() ? "" : ".") + printable(key);
    const bool right = check_item();
    path.resize(length);
    return right;
  }
  // A path goes into messages and logs.
  static std::string printable(const std::string& key) {
    const std::string quoted = shown(key);
    return quoted.substr(1, quoted.size() - 2);
  }

  bool check_items(const Json& items, const Json& value) {
    const size_t length = path.size();
    for (size_t i = 0; i < value.size(); ++i) {
      path += fmt::format("[{}]", i);
      if (!check(items, value[i])) return false;
      path.resize(length);
    }
    return true;
  }

  bool check_properties(const Json& schema, const Json& value) {
    const Json& properties = schema["properties"];
    for (const auto& [key, property] : properties.items()) {
      const auto found = value.find(key);
      if (found == value.end()) continue;
      if (!at_key(key, [&, &wanted = property] { return check(wanted, *found); })) return false;
    }
    for (const Json& key : schema.value("required", Json::array())) {
      const std::string name = key.get<std::string>();
      if (value.contains(name)) continue;
      return at_key(name, [&] { return refuse(path + " is required", "missing_required_parameter"); });
    }
    for (const auto& [key, item] : value.items()) {
      if (unknown.size() >= kMaxUnknown) break;
      if (!properties.contains(key)) at_key(key, [&] { return unknown.push_back(path), true; });
    }
    return true;
  }

  // The violation shown is the one of the branch that fitted most.
  bool check_any(const Json& schema, const Json& value) {
    std::optional<Walk> best;
    for (const Json& branch : schema["anyOf"]) {
      Walk walk;
      walk.path = path;
      if (walk.check(branch, value)) {
        unknown.insert(unknown.end(), walk.unknown.begin(), walk.unknown.end());
        good += walk.good;
        return true;
      }
      if (branch.value("type", Json()) == "null") continue;
      if (!best || walk.good > best->good) {
        best = std::move(walk);
      } else if (walk.good == best->good && walk.violation->path == best->violation->path) {
        for (std::string& one : walk.expected) {
          if (std::find(best->expected.begin(), best->expected.end(), one) == best->expected.end()) {
            best->expected.push_back(std::move(one));
          }
        }
      }
    }
    violation = std::move(best->violation);
    expected = std::move(best->expected);
    got = std::move(best->got);
    good += best->good;
    return false;
  }

  bool refuse(const Json& schema, const Json& value) {
    violation = Violation{path, {}, "invalid_value"};
    expected = alternatives(schema);
    got = describe_value(value);
    return false;
  }
  bool refuse(std::string message, std::string code) {
    violation = Violation{path, std::move(message), std::move(code)};
    return false;
  }
  bool refuse_unsupported(const Json& schema) {
    std::string message = fmt::format("{} is not supported: {}", path, schema.value("description", ""));
    if (const auto values = alternatives(schema); !values.empty())
      message += fmt::format("; leave it out or send {}", joined(values));
    return refuse(std::move(message), "unsupported_parameter");
  }
};

}  // namespace

Checked check(const Json& schema, const Json& value, const std::string& path) {
  Walk walk;
  walk.path = path;
  if (!walk.check(schema, value) && walk.violation->message.empty()) {
    const std::string& place = walk.violation->path;
    walk.violation->message =
        fmt::format("{} must be {}, got {}", place.empty() ? "the body" : place, joined(walk.expected), walk.got);
  }
  return {std::move(walk.violation), std::move(walk.unknown)};
}

std::string shown(std::string_view text, size_t most) {
  size_t end = std::min(text.size(), most);
  while (end > 0 && end < text.size() && (text[end] & 0xC0) == 0x80) --end;  // not within a character
  std::string quoted = "\"";
  for (const char c : text.substr(0, end)) quoted += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
  return quoted + (end < text.size() ? "…\"" : "\"");
}

}  // namespace mlxk::schema
