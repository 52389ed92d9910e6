// <minimax:tool_call><invoke name="f"><parameter name="a">v</parameter></invoke></minimax:tool_call>: MiniMax M2.
#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
TaggedCallsFormat tags() {
  TaggedCallsFormat format;
  format.call_open = "<invoke name=";
  format.name_close = ">";
  format.parameter_open = "<parameter name=";
  format.key_close = ">";
  format.value_close = "</parameter>";
  format.call_close = "</invoke>";
  format.section_close = "</minimax:tool_call>";
  format.quoted = true;
  return format;
}

class MinimaxM2 : public ToolFormat {
 public:
  std::string_view name() const override { return "minimax_m2"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<minimax:tool_call>");
  }
  std::vector<std::string> openings() const override { return {"<minimax:tool_call>"}; }
  std::vector<std::string> marks() const override { return {"</minimax:tool_call>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    return std::make_unique<TaggedCalls>(tags(), tools);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"\n", "\n", "\n</minimax:tool_call>", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return tagged_call_grammar(text, tags(), tool);
  }
};
}  // namespace

const ToolFormat& minimax_m2_format() {
  static const MinimaxM2 format;
  return format;
}

}  // namespace mlxk
