// [TOOL_CALLS]f[ARGS]{…}, or [TOOL_CALLS][{"name": "f", "arguments": {…}}]: Mistral.
#include "chat/tools/headed_calls.h"
#include "chat/tools/json_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

namespace {
/// "f[ARGS]" or "f[CALL_ID]0123[ARGS]"
std::optional<std::string> mistral_name(std::string_view head) {
  constexpr std::string_view kArguments = "[ARGS]";
  const size_t end = head.find(kArguments);
  if (end == std::string_view::npos ||
      head.find_first_not_of(" \t\r\n", end + kArguments.size()) != std::string_view::npos) {
    return std::nullopt;
  }
  std::string name(head.substr(0, std::min(end, head.find("[CALL_ID]"))));
  name.erase(name.find_last_not_of(" \t\r\n") + 1);
  return is_function_name(name) ? std::optional(name) : std::nullopt;
}

/// Newer vocabularies have a token for the head of a call.
bool headed(const Tokenizer& tokenizer) { return tokenizer.token_to_id("[ARGS]").has_value(); }

class Mistral : public ToolFormat {
 public:
  std::string_view name() const override { return "mistral"; }
  bool in_template(std::string_view source) const override { return contains(source, "[TOOL_CALLS]"); }
  std::vector<std::string> openings() const override { return {"[TOOL_CALLS]"}; }
  std::vector<std::string> marks() const override { return {"[ARGS]", "[CALL_ID]"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    HeadedCallsFormat format;
    format.name = mistral_name;
    return std::make_unique<JsonOrOther>(JsonCallsFormat(), std::make_unique<HeadedCalls>(format));
  }
  CallSyntax syntax(std::string_view, const Tokenizer& tokenizer) const override {
    return headed(tokenizer) ? CallSyntax{"", "", "", false} : CallSyntax{"[", ", ", "]", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return headed(text.tokenizer()) ? text.literal(tool.name + "[ARGS]") + " " + text.arguments(tool)
                                    : json_call_grammar(text, "name", "arguments", tool);
  }
};
}  // namespace

const ToolFormat& mistral_format() {
  static const Mistral format;
  return format;
}

}  // namespace mlxk
