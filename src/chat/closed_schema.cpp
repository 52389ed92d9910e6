// Objects are closed so that an answer invents no keys; llama.cpp and xgrammar's strict mode read schemas the same way.
#include "chat/closed_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {
constexpr int kMaxDepth = 256;
constexpr size_t kMaxWork = 1'000'000;

bool is_one_of(std::string_view key, std::initializer_list<std::string_view> keys) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}
/// Keywords with values instead of schemas, and with schemas that an object must not match.
bool is_kept(std::string_view key) {
  return is_one_of(key, {"const", "enum", "default", "example", "examples", "required", "not", "if", "x-guidance"});
}
/// Schemas by name.
bool is_map(std::string_view key) {
  return is_one_of(key, {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"});
}
/// Lists of schemas of which one applies, to the same value.
bool is_choice(std::string_view key) { return is_one_of(key, {"anyOf", "oneOf", "then", "else"}); }

/// The constraints of a schema on one object, including everything that it refers to for the same value.
struct Keys {
  std::vector<std::string> names;  // each once, in the order of their appearance
  std::set<std::string> known;
  int sources = 0;       // schemas that name keys or decide
  bool decided = false;  // one of them says whether other keys are allowed
};

class Closer {
 public:
  explicit Closer(const Json& root) : root_(root) {}

  Json close() {
    Json result = close(root_, {}, Mode::close, 0);
    if (opened_.empty() || !result.is_object()) return result;
    Json& definitions = result["$defs"];
    if (definitions.is_null()) definitions = Json::object();
    if (!definitions.is_object()) return result;
    for (auto& [pointer, entry] : opened_) definitions[entry.first] = std::move(entry.second);
    return result;
  }

 private:
  enum class Mode {
    close,
    open,  // this object is closed elsewhere, or not at all; nested ones are still closed
  };
  using Names = std::vector<std::string>;

  /// The schema that a reference within this document points to; null if there is none.
  const Json* target(const Json& reference) const {
    if (!reference.is_string()) return nullptr;
    const auto& text = reference.get_ref<const std::string&>();
    if (text == "#") return &root_;
    if (text.rfind("#/", 0) != 0) return nullptr;
    try {
      const Json::json_pointer pointer(text.substr(1));
      return root_.contains(pointer) ? &root_.at(pointer) : nullptr;
    } catch (const Json::exception&) {
      return nullptr;
    }
  }

  void work(size_t steps) {
    work_ += steps;
    if (work_ > kMaxWork) throw Error(ErrorKind::invalid, "[schema] too complex: its objects refer to too many keys");
  }

  void add(const std::string& name, Keys& keys) {
    work(1);
    if (keys.known.insert(name).second) keys.names.push_back(name);
  }

  /// Adds the keys of `schema`; also those of its alternatives if `choices`.
  void collect(const Json& schema, bool choices, Keys& keys, std::set<const Json*>& seen) {
    if (!schema.is_object() || !seen.insert(&schema).second) return;
    work(1);
    const Json* properties = find_member(&schema, "properties");
    const Json* unevaluated = find_member(&schema, "unevaluatedProperties");
    const bool decides = find_member(&schema, "additionalProperties") || (unevaluated && *unevaluated != false);
    const Json* required = find_member(&schema, "required");
    if (properties || required || decides) ++keys.sources;
    keys.decided = keys.decided || decides;
    if (properties && properties->is_object()) {
      for (const auto& [name, value] : properties->items()) add(name, keys);
    }
    if (required && required->is_array()) {
      for (const Json& name : *required) {
        if (name.is_string()) add(name.get<std::string>(), keys);
      }
    }
    if (const Json* reference = find_member(&schema, "$ref")) {
      if (const Json* meant = target(*reference)) collect(*meant, choices, keys, seen);
    }
    for (const auto& [key, value] : schema.items()) {
      if (key != "allOf" && !(choices && is_choice(key))) continue;
      if (value.is_object()) collect(value, choices, keys, seen);
      if (!value.is_array()) continue;
      for (const Json& one : value) collect(one, choices, keys, seen);
    }
  }
  Keys keys_of(const Json& schema, bool choices) {
    Keys keys;
    std::set<const Json*> seen;
    collect(schema, choices, keys, seen);
    return keys;
  }

  /// A reference to the target of `reference`, left open.
  Json open_reference(const Json& reference, int depth) {
    const Json* meant = target(reference);
    if (!meant) return reference;
    const auto& pointer = reference.get_ref<const std::string&>();
    auto found = opened_.find(pointer);
    if (found == opened_.end()) {
      const std::string name = fmt::format("mlxk.open.{}", opened_.size());
      found = opened_.emplace(pointer, std::make_pair(name, Json())).first;
      found->second.second = close(*meant, {}, Mode::open, depth);
      for (const char* definitions : {"$defs", "definitions"}) found->second.second.erase(definitions);
    }
    return "#/$defs/" + found->second.first;
  }

  /// `schema`, closed unless `mode` says otherwise. `around`: keys that other schemas of the same object name.
  Json close(const Json& schema, const Names& around, Mode mode, int depth) {
    if (depth > kMaxDepth) throw Error(ErrorKind::invalid, "[schema] nested too deep");
    if (schema.is_array()) {  // of schemas
      Json all = Json::array();
      for (const Json& one : schema) all.push_back(close(one, around, mode, depth + 1));
      return all;
    }
    if (!schema.is_object()) return schema;
    const Keys own = keys_of(schema, false), all = keys_of(schema, true);
    const bool tells = own.sources > 0 || !around.empty();  // of keys, apart from the choices
    const bool shared = tells && (all.sources > 1 || !around.empty());
    // If several schemas describe this object, this one is closed for all of them.
    const bool closes = mode == Mode::close && tells && !all.decided &&
                        (shared || find_member(&schema, "properties")) && !too_few(schema, all, around);
    const Mode parts = mode == Mode::open || shared ? Mode::open : Mode::close;
    Json result = Json::object();
    for (const auto& [key, value] : schema.items()) {
      if (is_kept(key)) {
        result[key] = value;
      } else if (is_map(key) && value.is_object()) {
        Json& map = result[key] = Json::object();
        for (const auto& [name, one] : value.items()) map[name] = close(one, {}, Mode::close, depth + 1);
      } else if (key == "$ref") {
        result[key] = parts == Mode::open ? open_reference(value, depth + 1) : value;
      } else if (key == "allOf") {
        result[key] = close(value, {}, parts, depth + 1);
      } else if (is_choice(key)) {
        Names names = own.names;
        names.insert(names.end(), around.begin(), around.end());
        work(names.size() * std::max<size_t>(value.size(), 1));
        result[key] = close(value, names, own.decided ? Mode::open : mode, depth + 1);
      } else if (key != "unevaluatedProperties" || value != false || !closes) {
        result[key] = close(value, {}, Mode::close, depth + 1);
      }
    }
    if (!closes) return result;
    Json& properties = result["properties"];
    if (properties.is_null()) properties = Json::object();
    if (!properties.is_object()) return result;  // not a schema: it is refused unchanged
    for (const Names* names : {&all.names, &around}) {
      for (const std::string& name : *names) {
        if (!properties.contains(name)) properties[name] = true;
      }
    }
    result["additionalProperties"] = false;
    return result;
  }

  /// Whether the object must have more keys than are named: then additional keys were intended.
  static bool too_few(const Json& schema, const Keys& keys, const Names& around) {
    const Json* least = find_member(&schema, "minProperties");
    return least && least->is_number() && least->get<double>() > static_cast<double>(keys.names.size() + around.size());
  }

  const Json& root_;
  size_t work_ = 0;
  std::map<std::string, std::pair<std::string, Json>> opened_;  // by pointer: name and schema
};
}  // namespace

Json closed_schema(const Json& schema) { return Closer(schema).close(); }

}  // namespace mlxk
