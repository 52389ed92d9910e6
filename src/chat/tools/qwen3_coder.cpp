// <tool_call><function=f><parameter=a>v</parameter></function></tool_call>: Qwen3-Coder, Qwen3.5, Nemotron 3, Step,
// Seed-OSS.
#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

namespace {
class Qwen3Coder : public TaggedToolFormat {
 public:
  std::string_view name() const override { return "qwen3_coder"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<tool_call>\\n<function=") || contains(source, "<tool_call>\n<function=") ||
           contains(source, "<seed:tool_call>");
  }
  std::vector<std::string> openings() const override { return {"<tool_call>", "<seed:tool_call>"}; }
  CallSyntax syntax(std::string_view opening, const Tokenizer& tokenizer) const override {
    CallSyntax syntax = TaggedToolFormat::syntax(opening, tokenizer);
    syntax.one_section = false;
    return syntax;
  }

 protected:
  TaggedCallsFormat tags(std::string_view opening) const override {
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
};
}  // namespace

const ToolFormat& qwen3_coder_format() {
  static const Qwen3Coder format;
  return format;
}

}  // namespace mlxk
