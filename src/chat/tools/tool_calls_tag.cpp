// <tool_calls>…</tool_calls>: calls as a JSON list (Apriel), or one a line (MiniMax M1).
#include "chat/tools/json_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
class ToolCallsTag : public ToolFormat {
 public:
  ToolCallsTag(std::string_view name, std::string_view template_mark, CallSyntax syntax)
      : name_(name), template_mark_(template_mark), syntax_(std::move(syntax)) {}

  std::string_view name() const override { return name_; }
  bool in_template(std::string_view source) const override { return contains(source, template_mark_); }
  std::vector<std::string> openings() const override { return {"<tool_calls>"}; }
  std::vector<std::string> marks() const override { return {"</tool_calls>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    JsonCallsFormat format;
    format.close = "</tool_calls>";
    return std::make_unique<JsonCalls>(format);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return syntax_; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return json_call_grammar(text, "name", "arguments", tool);
  }

 private:
  std::string_view name_, template_mark_;
  CallSyntax syntax_;
};
}  // namespace

const ToolFormat& apriel_format() {
  static const ToolCallsTag format("apriel", "<tool_calls>[", {"[", ", ", "]</tool_calls>", true});
  return format;
}

const ToolFormat& minimax_m1_format() {
  static const ToolCallsTag format("minimax_m1", "<tool_calls>", {"\n", "\n", "\n</tool_calls>", true});
  return format;
}

}  // namespace mlxk
