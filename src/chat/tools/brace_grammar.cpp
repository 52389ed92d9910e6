// The grammar of `call:f{…}`.
#include "chat/tools/brace_calls.h"
#include "chat/tools/typed_value.h"

namespace mlxk {

namespace {
constexpr int kMaxSchemaDepth = 16;  // below this depth, a schema's values are unconstrained

class BraceGrammar {
 public:
  BraceGrammar(GrammarText& text, const ToolFunction& tool, std::string_view quote)
      : text_(text), tool_(tool), quote_(quote) {}

  std::string object(const Json& schema, int depth) {
    const auto member = [&](const std::string& key, const Json& value_schema) {
      return text_.literal(key + ":") + value(value_schema, depth + 1);
    };
    return text_.literal("{") + text_.members(schema, ",", member) + text_.literal("}");
  }

 private:
  std::string one_of(const Json& schemas, int depth) {
    std::string any;
    for (const Json& schema : schemas) any += (any.empty() ? "" : " | ") + value(schema, depth + 1);
    return "(" + any + ") ";
  }

  std::string listed(const Json& values) {
    std::string any;
    for (const Json& value : values) {
      const std::string quote(quote_);
      const std::string written = value.is_string() ? quote + value.get<std::string>() + quote : json_text(value);
      any += (any.empty() ? "" : " | ") + text_.literal(written);
    }
    return "(" + any + ") ";
  }

  /// A value for which the schema has no constraint that is supported here.
  std::string any() {
    if (any_.empty())
      any_ = text_.rule(string() + " | " + text_.json(Json{{"type", {"number", "boolean", "null"}}}, tool_));
    return any_ + " ";
  }

  std::string string() { return text_.literal(quote_) + text_.text_until(quote_); }

  std::string value(const Json& schema, int depth) {
    if (!schema.is_object() || depth > kMaxSchemaDepth) return any();
    const auto has = [&](const char* key) {
      return schema.contains(key) && schema[key].is_array() && !schema[key].empty();
    };
    if (has("enum")) return listed(schema["enum"]);
    if (schema.contains("const")) return listed(Json::array({schema["const"]}));
    if (has("anyOf")) return one_of(schema["anyOf"], depth);
    if (has("oneOf")) return one_of(schema["oneOf"], depth);
    if (has("type")) {
      Json each = Json::array();
      for (const Json& type : schema["type"]) {
        each.push_back(schema);
        each.back()["type"] = type;
      }
      return one_of(each, depth);
    }
    const Json type = schema.value("type", Json());
    if (type == "string") return string();
    if (type == "object") return object(schema, depth);
    if (type == "array") {
      const std::string item = text_.rule(value(schema.value("items", Json()), depth + 1));
      return text_.literal("[") + "(" + item + " (" + text_.literal(",") + item + ")*)? " + text_.literal("]");
    }
    if (type == "integer" || type == "number" || type == "boolean" || type == "null") return text_.json(schema, tool_);
    return any();
  }

  GrammarText& text_;
  const ToolFunction& tool_;
  std::string_view quote_;
  std::string any_;
};
}  // namespace

std::string brace_call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view quote) {
  return text.literal("call:" + tool.name) + BraceGrammar(text, tool, quote).object(tool.parameters, 0);
}

}  // namespace mlxk
