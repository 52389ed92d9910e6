// <tool_call>f<arg_key>a</arg_key><arg_value>v</arg_value></tool_call>: GLM 4.5 and later, Laguna, Ling 3.
#include "chat/tools/json_calls.h"
#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
TaggedCallsFormat tags() {
  TaggedCallsFormat format;
  format.parameter_open = "<arg_key>";
  format.key_close = "</arg_key>";
  format.value_open = "<arg_value>";
  format.value_close = "</arg_value>";
  format.call_close = "</tool_call>";
  format.untyped = Untyped::value;
  return format;
}

class Glm47 : public ToolFormat {
 public:
  std::string_view name() const override { return "glm47"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<arg_key>");
  }
  std::vector<std::string> openings() const override { return {"<tool_call>"}; }
  std::vector<std::string> marks() const override { return {"</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    JsonCallsFormat json;
    json.close = "</tool_call>";
    return std::make_unique<JsonOrOther>(json, std::make_unique<TaggedCalls>(tags(), tools));
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"", "", "", false};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return tagged_call_grammar(text, tags(), tool);
  }
};
}  // namespace

const ToolFormat& glm47_format() {
  static const Glm47 format;
  return format;
}

}  // namespace mlxk
