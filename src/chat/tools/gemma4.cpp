// <|tool_call>call:f{a:<|"|>text<|"|>,n:1}<tool_call|>: Gemma 4.
#include "chat/tools/brace_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
std::optional<std::vector<WholeCall>> parse_gemma4(std::string_view text) { return brace_calls(text, "<|\"|>"); }

class Gemma4 : public ToolFormat {
 public:
  std::string_view name() const override { return "gemma4"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<|tool_call>") && contains(source, "<tool_call|>");
  }
  std::vector<std::string> openings() const override { return {"<|tool_call>"}; }
  std::vector<std::string> marks() const override { return {"<tool_call|>", "<|\"|>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return std::make_unique<WholeCalls>("<tool_call|>", parse_gemma4);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return {"", "", "<tool_call|>", false}; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return brace_call_grammar(text, tool, "<|\"|>");
  }
};
}  // namespace

const ToolFormat& gemma4_format() {
  static const Gemma4 format;
  return format;
}

}  // namespace mlxk
