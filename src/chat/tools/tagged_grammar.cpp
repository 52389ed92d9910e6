// The grammar of calls between tags.
#include "chat/tools/tagged_calls.h"

namespace mlxk {

namespace {
std::string named(std::string_view open, std::string_view attribute, bool quotes, const std::string& name) {
  if (!attribute.empty()) return std::string(open) + " " + std::string(attribute) + "=\"" + name + "\"";
  return std::string(open) + (quotes ? "\"" + name + "\"" : name);
}

/// The allowed strings of a schema that lists them; empty for any other.
std::vector<std::string> listed(const Json& schema) {
  std::vector<std::string> texts;
  const Json values = schema.is_object() ? schema.value("enum", Json()) : Json();
  if (!values.is_array()) return {};
  for (const Json& value : values) {
    if (value.is_string()) texts.push_back(value.get<std::string>());
  }
  return texts;
}
}  // namespace

std::string tagged_call_grammar(GrammarText& text, const TaggedCallsFormat& format, const ToolFunction& tool) {
  const std::string line = format.line.empty() ? "" : text.literal(format.line) + "? ";
  const bool inner_lines = format.trim == TaggedCallsFormat::Trim::newline;
  const std::string close = (inner_lines ? "\n" : "") + std::string(format.value_close);
  const auto member = [&](const std::string& key, const Json& schema) {
    std::string tag = named(format.parameter_open, format.key_attribute, format.quoted, key);
    if (format.written_type) tag += format.written_type(schema);
    std::string out = text.literal(tag + std::string(format.key_close));
    if (!format.value_open.empty()) out += line + text.literal(format.value_open);
    if (inner_lines) out += text.literal("\n");
    if (!wants_text(&schema, Untyped::text)) {
      out += text.json(schema, tool) + text.literal(close);
    } else if (const auto texts = listed(schema); !texts.empty()) {
      std::string any;
      for (const std::string& one : texts) any += (any.empty() ? "" : " | ") + text.literal(one + close);
      out += "(" + any + ") ";
    } else {
      out += text.text_until(close);
    }
    return out + line;
  };
  const std::string name = named(format.call_open, format.name_attribute, format.quoted, tool.name);
  return text.literal(name + std::string(format.name_close)) + line + text.members(tool, "", member) +
         text.literal(format.call_close);
}

}  // namespace mlxk
