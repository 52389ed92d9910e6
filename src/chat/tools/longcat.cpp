// <longcat_tool_call>f<longcat_arg_key>a</longcat_arg_key><longcat_arg_value>v</longcat_arg_value>…: LongCat.
#include "chat/tools/json_calls.h"
#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
TaggedCallsFormat tags() {
  TaggedCallsFormat format;
  format.parameter_open = "<longcat_arg_key>";
  format.key_close = "</longcat_arg_key>";
  format.value_open = "<longcat_arg_value>";
  format.value_close = "</longcat_arg_value>";
  format.call_close = "</longcat_tool_call>";
  format.untyped = Untyped::value;
  return format;
}

class Longcat : public ToolFormat {
 public:
  std::string_view name() const override { return "longcat"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<longcat_tool_call>");
  }
  std::vector<std::string> openings() const override { return {"<longcat_tool_call>"}; }
  std::vector<std::string> marks() const override { return {"</longcat_tool_call>", "<longcat_arg_key>", "</longcat_arg_key>", "<longcat_arg_value>", "</longcat_arg_value>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    JsonCallsFormat json;
    json.close = "</longcat_tool_call>";
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

const ToolFormat& longcat_format() {
  static const Longcat format;
  return format;
}

}  // namespace mlxk
