// <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{…}<｜tool▁call▁end｜><｜tool▁calls▁end｜>: DeepSeek V3 and
// R1 (there with a type before the name and the arguments in a fence), V3.1.
#include "chat/tools/headed_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
/// "f<｜tool▁sep｜>" or "function<｜tool▁sep｜>f\n```json\n"
std::optional<std::string> deepseek_name(std::string_view head) {
  constexpr std::string_view kSeparator = "<｜tool▁sep｜>";
  const size_t end = head.find(kSeparator);
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view behind = head.substr(end + kSeparator.size());
  std::string name(behind.find("```") == std::string_view::npos ? head.substr(0, end)
                                                                : behind.substr(0, behind.find('\n')));
  name.erase(name.find_last_not_of(" \t\r\n") + 1);
  return is_function_name(name) ? std::optional(name) : std::nullopt;
}

class Deepseek : public ToolFormat {
 public:
  std::string_view name() const override { return "deepseek"; }
  bool in_template(std::string_view source) const override { return contains(source, "<｜tool▁calls▁begin｜>"); }
  bool in_vocabulary(const HasToken& has) const override {
    return has("<｜tool▁calls▁begin｜>") && has("<｜tool▁sep｜>");
  }
  std::vector<std::string> openings() const override { return {"<｜tool▁calls▁begin｜>"}; }
  std::vector<std::string> marks() const override {
    return {"<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"};
  }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    HeadedCallsFormat format;
    format.call_open = "<｜tool▁call▁begin｜>";
    format.call_close = "<｜tool▁call▁end｜>";
    format.section_close = "<｜tool▁calls▁end｜>";
    format.fence = "```";
    format.name = deepseek_name;
    return std::make_unique<HeadedCalls>(format);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"", "", "<｜tool▁calls▁end｜>", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return text.literal("<｜tool▁call▁begin｜>") + " (" + text.literal(tool.name + "<｜tool▁sep｜>") + " " +
           text.arguments(tool) + " | " + text.literal("function<｜tool▁sep｜>" + tool.name + "\n```json\n") + " " +
           text.arguments(tool) + " " + text.literal("\n```") + ") " + text.literal("<｜tool▁call▁end｜>");
  }
};
}  // namespace

const ToolFormat& deepseek_format() {
  static const Deepseek format;
  return format;
}

}  // namespace mlxk
