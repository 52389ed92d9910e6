// <tool_call>{"name": "f", "arguments": {…}}</tool_call>: Hermes, Qwen2.5, Qwen3, Granite 4, EXAONE 4, Reka and many
// others.
#include <algorithm>

#include "chat/tools/json_calls.h"
#include "chat/tools/tool_format.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
class JsonTools : public ToolFormat {
 public:
  std::string_view name() const override { return "json_tools"; }
  bool in_template(std::string_view source) const override {
    constexpr std::string_view kNames[] = {"tool_call.name", "tool_call.get(\"name\"", "tool_call['name']",
                                           "tool_call[\"name\"]", "tool_call.function.name"};
    return contains(source, "<tool_call>") &&
           std::any_of(std::begin(kNames), std::end(kNames), [&](auto name) { return contains(source, name); });
  }
  std::vector<std::string> openings() const override { return {"<tool_call>"}; }
  std::vector<std::string> marks() const override { return {"</tool_call>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    JsonCallsFormat format;
    format.close = "</tool_call>";
    return std::make_unique<JsonCalls>(format);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return {"\n", "\n", "\n</tool_call>", false}; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return json_call_grammar(text, "name", "arguments", tool);
  }
};
}  // namespace

const ToolFormat& json_tools_format() {
  static const JsonTools format;
  return format;
}

}  // namespace mlxk
