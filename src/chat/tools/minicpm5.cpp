// <function name="f"><param name="a">v</param></function>, calls one behind the other: MiniCPM.
#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
TaggedCallsFormat tags() {
  TaggedCallsFormat format;
  format.name_close = ">";
  format.parameter_open = "<param name=";
  format.key_close = ">";
  format.value_close = "</param>";
  format.call_close = "</function>";
  format.cdata = true;
  format.quoted = true;
  format.line = "";
  return format;
}

class Minicpm5 : public ToolFormat {
 public:
  std::string_view name() const override { return "minicpm5"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<function name=\"") && contains(source, "<param name=\"");
  }
  std::vector<std::string> openings() const override { return {"<function name="}; }
  std::vector<std::string> marks() const override { return {"</function>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    return std::make_unique<TaggedCalls>(tags(), tools);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"", "", "", false};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return tagged_call_grammar(text, tags(), tool);
  }
};
}  // namespace

const ToolFormat& minicpm5_format() {
  static const Minicpm5 format;
  return format;
}

}  // namespace mlxk
