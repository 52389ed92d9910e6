// <|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{…}<|tool_call_end|>…: Kimi
// K2.
#include "chat/tools/headed_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
/// "functions.f:0<|tool_call_argument_begin|>"
std::optional<std::string> kimi_k2_name(std::string_view head) {
  constexpr std::string_view kBegin = "<|tool_call_argument_begin|>", kPrefix = "functions.";
  const size_t end = head.find(kBegin);
  if (end == std::string_view::npos) return std::nullopt;
  head = head.substr(0, end);
  const size_t first = head.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return std::nullopt;
  head.remove_prefix(first);
  if (head.substr(0, kPrefix.size()) == kPrefix) head.remove_prefix(kPrefix.size());
  const std::string name(head.substr(0, head.rfind(':')));
  return is_function_name(name) ? std::optional(name) : std::nullopt;
}

class KimiK2 : public ToolFormat {
 public:
  std::string_view name() const override { return "kimi_k2"; }
  bool in_template(std::string_view source) const override { return contains(source, "<|tool_calls_section_begin|>"); }
  std::vector<std::string> openings() const override { return {"<|tool_calls_section_begin|>"}; }
  std::vector<std::string> marks() const override {
    return {"<|tool_calls_section_end|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"};
  }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    HeadedCallsFormat format;
    format.call_open = "<|tool_call_begin|>";
    format.call_close = "<|tool_call_end|>";
    format.section_close = "<|tool_calls_section_end|>";
    format.name = kimi_k2_name;
    return std::make_unique<HeadedCalls>(format);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"", "", "<|tool_calls_section_end|>", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return text.literal("<|tool_call_begin|>functions." + tool.name + ":") + " /[0-9]+/ " +
           text.literal("<|tool_call_argument_begin|>") + " " + text.arguments(tool) + " " +
           text.literal("<|tool_call_end|>");
  }
};
}  // namespace

const ToolFormat& kimi_k2_format() {
  static const KimiK2 format;
  return format;
}

}  // namespace mlxk
