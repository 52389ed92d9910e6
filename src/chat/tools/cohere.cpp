// <|START_ACTION|>[{"tool_name": "f", "parameters": {…}}]<|END_ACTION|>, or Action: ```json […]```: Command R and A.
#include "chat/tools/json_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
class Cohere : public ToolFormat {
 public:
  std::string_view name() const override { return "cohere"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<|START_ACTION|>") || (contains(source, "Action:") && contains(source, "\"tool_name\""));
  }
  std::vector<std::string> openings() const override {
    return {"<|START_ACTION|>", "Action:\n```json", "Action: ```json"};
  }
  std::vector<std::string> marks() const override { return {"<|END_ACTION|>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const override {
    JsonCallsFormat format;
    format.name_key = "tool_name";
    format.close = opening == "<|START_ACTION|>" ? "<|END_ACTION|>" : "```";
    format.known = &tools;  // the template's own directly-answer is not a call
    return std::make_unique<JsonCalls>(format);
  }
  CallSyntax syntax(std::string_view opening, const Tokenizer&) const override {
    return {"[", ", ", opening == "<|START_ACTION|>" ? "]<|END_ACTION|>" : "]```", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return json_call_grammar(text, "tool_name", "parameters", tool);
  }
};
}  // namespace

const ToolFormat& cohere_format() {
  static const Cohere format;
  return format;
}

}  // namespace mlxk
