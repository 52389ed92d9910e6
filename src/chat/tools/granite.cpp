// <|tool_call|>[{"name": "f", "arguments": {…}}]: Granite 3.
#include "chat/tools/json_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
class Granite : public ToolFormat {
 public:
  std::string_view name() const override { return "granite"; }
  bool in_template(std::string_view source) const override { return contains(source, "<|tool_call|>"); }
  std::vector<std::string> openings() const override { return {"<|tool_call|>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return std::make_unique<JsonCalls>(JsonCallsFormat());
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return {"[", ", ", "]", true}; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return json_call_grammar(text, "name", "arguments", tool);
  }
};
}  // namespace

const ToolFormat& granite_format() {
  static const Granite format;
  return format;
}

}  // namespace mlxk
