// <|tools_prefix|>[{"f": {…}}, …]<|tools_suffix|>: Apertus.
#include "base/error.h"
#include "chat/tools/tool_formats.h"
#include "chat/tools/typed_value.h"
#include "chat/tools/whole_calls.h"

namespace mlxk {

namespace {
constexpr std::string_view kClose = "<|tools_suffix|>";

std::optional<std::vector<WholeCall>> parse(std::string_view text) {
  try {
    const Json list = parse_json(text, "tool calls");
    if (!list.is_array()) return std::nullopt;
    std::vector<WholeCall> calls;
    for (const Json& call : list) {
      if (!call.is_object() || call.size() != 1 || !call.begin().value().is_object()) return std::nullopt;
      calls.push_back({call.begin().key(), call.begin().value()});
    }
    return calls;
  } catch (const Error&) {
    return std::nullopt;
  }
}

class Apertus : public ToolFormat {
 public:
  std::string_view name() const override { return "apertus"; }
  bool in_template(std::string_view source) const override { return contains(source, "<|tools_prefix|>"); }
  std::vector<std::string> openings() const override { return {"<|tools_prefix|>"}; }
  std::vector<std::string> marks() const override { return {std::string(kClose)}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return std::make_unique<WholeCalls>(kClose, parse);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"[", ", ", "]" + std::string(kClose), true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return text.literal("{" + json_text(tool.name) + ": ") + text.arguments(tool) + text.literal("}");
  }
};
}  // namespace

const ToolFormat& apertus_format() {
  static const Apertus format;
  return format;
}

}  // namespace mlxk
