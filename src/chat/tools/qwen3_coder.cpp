// <tool_call><function=f><parameter=a>v</parameter></function></tool_call>: Qwen3-Coder, Qwen3.5, Nemotron 3, Step, Seed-OSS.
#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
TaggedCallsFormat tags(std::string_view opening) {
  TaggedCallsFormat format;
  format.call_open = "<function=";
  format.name_close = ">";
  format.parameter_open = "<parameter=";
  format.key_close = ">";
  format.value_close = "</parameter>";
  format.call_close = "</function>";
  format.section_close = opening == "<tool_call>" ? "</tool_call>" : "</seed:tool_call>";
  format.trim = TaggedCallsFormat::Trim::newline;
  return format;
}

class Qwen3Coder : public ToolFormat {
 public:
  std::string_view name() const override { return "qwen3_coder"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<tool_call>\\n<function=") || contains(source, "<tool_call>\n<function=") ||
           contains(source, "<seed:tool_call>");
  }
  std::vector<std::string> openings() const override { return {"<tool_call>", "<seed:tool_call>"}; }
  std::vector<std::string> marks() const override { return {"</tool_call>", "</seed:tool_call>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const override {
    return std::make_unique<TaggedCalls>(tags(opening), tools);
  }
  CallSyntax syntax(std::string_view opening, const Tokenizer&) const override {
    return {"\n", "\n", opening == "<tool_call>" ? "\n</tool_call>" : "\n</seed:tool_call>", false};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view opening) const override {
    return tagged_call_grammar(text, tags(opening), tool);
  }
};
}  // namespace

const ToolFormat& qwen3_coder_format() {
  static const Qwen3Coder format;
  return format;
}

}  // namespace mlxk
