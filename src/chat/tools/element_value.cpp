#include "chat/tools/element_value.h"

#include "chat/tools/typed_value.h"
#include "json/member.h"

namespace mlxk {

namespace {
constexpr int kMaxElementDepth = 64;
constexpr int kMaxGrammarDepth = 16;  // below this depth, values are unconstrained

class Elements {
 public:
  Elements(std::string_view& text, std::string_view mark) : text_(text), mark_(mark) {}

  /// The content up to `</name>`; `elements`: no text is allowed.
  std::optional<Json> value(std::string_view name, const Json* schema, bool elements, int depth) {
    if (depth > kMaxElementDepth) return std::nullopt;
    const std::string close = std::string(mark_) + "</" + std::string(name) + ">";
    const size_t end = text_.find(mark_);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view before = text_.substr(0, end);
    const bool leaf = text_.substr(end, close.size()) == close;
    if (leaf && !elements) {
      text_.remove_prefix(end + close.size());
      const Json* type = find_member(schema, "type");
      if (before.empty() && type && (*type == "object" || *type == "array"))
        return *type == "object" ? Json::object() : Json::array();
      return typed_value(before, schema, Untyped::value);
    }
    if (before.find_first_not_of(" \t\r\n") != std::string_view::npos) return std::nullopt;
    Json list = Json::array(), object = Json::object();
    while (!take(close)) {
      const auto key = take_tag();
      if (!key) return std::nullopt;
      const bool item = !elements && *key == "item";
      auto inner =
          value(*key, item ? find_member(schema, "items") : find_member(find_member(schema, "properties"), *key), false,
                depth + 1);
      if (!inner) return std::nullopt;
      if (item) {
        list.push_back(std::move(*inner));
      } else {
        object[*key] = std::move(*inner);
      }
    }
    if (list.empty()) return object;
    return object.empty() ? std::optional(std::move(list)) : std::nullopt;
  }

 private:
  bool take(std::string_view literal) {
    const size_t first = std::min(text_.find_first_not_of(" \t\r\n"), text_.size());
    if (text_.substr(first, literal.size()) != literal) return false;
    text_.remove_prefix(first + literal.size());
    return true;
  }
  /// The key of `<key>`.
  std::optional<std::string> take_tag() {
    if (!take(std::string(mark_) + "<")) return std::nullopt;
    const size_t end = text_.find('>');
    if (end == std::string_view::npos || end == 0 || text_[0] == '/') return std::nullopt;
    std::string key(text_.substr(0, end));
    text_.remove_prefix(end + 1);
    return key;
  }

  std::string_view& text_;
  std::string_view mark_;
};

class ElementsGrammar {
 public:
  ElementsGrammar(GrammarText& text, const ToolFunction& tool, std::string_view mark)
      : text_(text), tool_(tool), mark_(mark) {}

  std::string members(const Json& schema, int depth) {
    return text_.members(schema, "",
                         [&](const std::string& key, const Json& value) { return element(key, value, depth); });
  }

 private:
  std::string element(const std::string& key, const Json& schema, int depth) {
    return text_.literal(std::string(mark_) + "<" + key + ">") +
           value(schema, std::string(mark_) + "</" + key + ">", depth);
  }

  std::string one_of(const Json& schemas, const std::string& close, int depth) {
    std::string any;
    for (const Json& schema : schemas) any += (any.empty() ? "" : " | ") + value(schema, close, depth + 1);
    return "(" + any + ") ";
  }

  /// A value of `schema` with its end, `close`.
  std::string value(const Json& schema, const std::string& close, int depth) {
    if (!schema.is_object() || depth > kMaxGrammarDepth) return text_.text_until(close);
    const auto list = [&](const char* key) {
      const Json* found = find_member(&schema, key);
      return found && found->is_array() && !found->empty() ? found : nullptr;
    };
    if (const Json* values = list("enum")) {
      std::string any;
      for (const Json& one : *values) {
        any += (any.empty() ? "" : " | ") +
               text_.literal((one.is_string() ? one.get<std::string>() : json_text(one)) + close);
      }
      return "(" + any + ") ";
    }
    if (const Json* choices = list("anyOf")) return one_of(*choices, close, depth);
    if (const Json* choices = list("oneOf")) return one_of(*choices, close, depth);
    if (const Json* types = list("type")) {
      Json each = Json::array();
      for (const Json& type : *types) {
        each.push_back(schema);
        each.back()["type"] = type;
      }
      return one_of(each, close, depth);
    }
    const Json type = schema.value("type", Json());
    if (type == "object") return members(schema, depth + 1) + text_.literal(close);
    if (type == "array") {
      const std::string item = text_.rule(element("item", schema.value("items", Json()), depth + 1));
      return item + "* " + text_.literal(close);
    }
    if (type == "integer" || type == "number" || type == "boolean" || type == "null")
      return text_.json(schema, tool_) + text_.literal(close);
    return text_.text_until(close);
  }

  GrammarText& text_;
  const ToolFunction& tool_;
  std::string_view mark_;
};
}  // namespace

std::optional<Json> take_elements(std::string_view& text, std::string_view mark, std::string_view name,
                                  const Json* schema) {
  return Elements(text, mark).value(name, schema, true, 0);
}

std::string elements_grammar(GrammarText& text, const ToolFunction& tool, std::string_view mark) {
  return ElementsGrammar(text, tool, mark).members(tool.parameters, 0);
}

}  // namespace mlxk
