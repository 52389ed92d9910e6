// <start_function_call>call:f{a:<escape>text<escape>,n:1}<end_function_call>: FunctionGemma.
#include "chat/tools/brace_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
std::optional<std::vector<WholeCall>> parse_function_gemma(std::string_view text) {
  return brace_calls(text, "<escape>");
}

class FunctionGemma : public ToolFormat {
 public:
  std::string_view name() const override { return "function_gemma"; }
  bool in_template(std::string_view source) const override { return contains(source, "<start_function_call>"); }
  std::vector<std::string> openings() const override { return {"<start_function_call>"}; }
  std::vector<std::string> marks() const override { return {"<end_function_call>", "<escape>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return std::make_unique<WholeCalls>("<end_function_call>", parse_function_gemma);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"", "", "<end_function_call>", false};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return brace_call_grammar(text, tool, "<escape>");
  }
};
}  // namespace

const ToolFormat& function_gemma_format() {
  static const FunctionGemma format;
  return format;
}

}  // namespace mlxk
