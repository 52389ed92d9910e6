// {"name": "f", "parameters": {…}} as the whole answer, with or without <|python_tag|>: Llama 3.1 to 4.
#include "chat/tools/json_calls.h"
#include "chat/tools/tool_formats.h"
#include "chat/tools/typed_value.h"

namespace mlxk {

namespace {
class Llama3 : public ToolFormat {
 public:
  std::string_view name() const override { return "llama3"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<|python_tag|>") ||
           ((contains(source, "<|start_header_id|>") || contains(source, "<|header_start|>")) &&
            contains(source, "{\"name\": function name, \"parameters\""));
  }
  std::vector<std::string> openings() const override { return {"<|python_tag|>"}; }
  bool bare() const override { return true; }
  std::string bare_beginning(std::string_view name) const override { return "{\"name\": " + json_text(Json(name)); }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    JsonCallsFormat format;
    format.known = &tools;  // other JSON is an answer
    return std::make_unique<JsonCalls>(format);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return {"", "; ", "", true}; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return json_call_grammar(text, "name", "parameters", tool);
  }
  std::string written_opening() const override { return ""; }
};
}  // namespace

const ToolFormat& llama3_format() {
  static const Llama3 format;
  return format;
}

}  // namespace mlxk
