// <|channel|>commentary to=functions.f <|constrain|>json<|message|>{…}<|call|>: gpt-oss. A call is a message of its
// own, so ReasoningSplitter, which reads the messages, finds it.
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
class Harmony : public ToolFormat {
 public:
  std::string_view name() const override { return "harmony"; }
  bool in_template(std::string_view source) const override { return contains(source, "<|channel|>commentary"); }
  bool in_vocabulary(const HasToken& has) const override {
    return has("<|channel|>") && has("<|message|>") && has("<|call|>");
  }
  std::vector<std::string> openings() const override { return {}; }
  std::vector<std::string> marks() const override {
    return {"<|channel|>", "<|message|>", "<|call|>", "<|constrain|>", "<|start|>", "<|end|>"};
  }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return nullptr;  // no section has an opening
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return {"", "", "", false}; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    const std::string to = " to=functions." + tool.name;
    return "(" + text.literal("<|channel|>commentary" + to) + " | " + text.literal(to + "<|channel|>commentary") +
           ") (" + text.literal(" ") + "? " + text.literal("<|constrain|>json") + " | " + text.literal(" json") +
           ")? " + text.literal("<|message|>") + " " + text.arguments(tool);
  }
  std::string written_opening() const override { return ""; }
};
}  // namespace

const ToolFormat& harmony_format() {
  static const Harmony format;
  return format;
}

}  // namespace mlxk
