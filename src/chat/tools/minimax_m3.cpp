// ]<]minimax[>[<tool_call> … <invoke name="f">…<a>v…</a>…</invoke> …: MiniMax M3, with its own mark before every tag,
// nested elements for objects, and elements <item> for the items of lists.
#include "chat/tools/element_value.h"
#include "chat/tools/headed_calls.h"
#include "chat/tools/tool_formats.h"
#include "chat/tools/typed_value.h"

namespace mlxk {

namespace {
constexpr std::string_view kMark = "]<]minimax[>[";

std::string tag(std::string_view inside) { return std::string(kMark) + "<" + std::string(inside) + ">"; }

/// Reads the calls of a section once it is complete: a value's type is known only from its content.
class MinimaxM3Calls : public CallReader {
 public:
  explicit MinimaxM3Calls(const ToolTable& tools) : tools_(tools) {}

  State read(TextFeed& feed, CallSink& calls) override {
    auto text = feed.take_until(close_);
    if (!text) {
      if (!feed.finished()) return State::more;
      text = std::string(feed.rest());
      feed.skip(text->size());
    }
    std::string_view rest = *text;
    bool any = false;
    for (; take_blanks(rest), !rest.empty(); any = true) {
      if (!take(rest, open_)) return State::broken;
      const size_t end = rest.find("\">");
      if (end == std::string_view::npos) return State::broken;
      const std::string name(rest.substr(0, end));
      rest.remove_prefix(end + 2);
      const Json* schema = tools_.parameters(name);
      const auto arguments = is_function_name(name) ? take_elements(rest, kMark, "invoke", schema) : std::nullopt;
      if (!arguments || !arguments->is_object()) return State::broken;
      calls.begin(name);
      calls.arguments(json_text(*arguments));
      calls.end();
    }
    return any ? State::done : State::broken;
  }
  std::string closing() override { return ""; }

 private:
  static void take_blanks(std::string_view& text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  }
  static bool take(std::string_view& text, std::string_view literal) {
    if (text.substr(0, literal.size()) != literal) return false;
    text.remove_prefix(literal.size());
    return true;
  }

  const ToolTable& tools_;
  const std::string close_ = tag("/tool_call");
  const std::string open_ = std::string(kMark) + "<invoke name=\"";
};

class MinimaxM3 : public ToolFormat {
 public:
  std::string_view name() const override { return "minimax_m3"; }
  bool in_template(std::string_view source) const override { return contains(source, kMark); }
  std::vector<std::string> openings() const override { return {tag("tool_call")}; }
  std::vector<std::string> marks() const override { return {std::string(kMark)}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view) const override {
    return std::make_unique<MinimaxM3Calls>(tools);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"\n", "\n", "\n" + tag("/tool_call"), true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return text.literal(std::string(kMark) + "<invoke name=\"" + tool.name + "\">") +
           elements_grammar(text, tool, kMark) + text.literal(tag("/invoke"));
  }
};
}  // namespace

const ToolFormat& minimax_m3_format() {
  static const MinimaxM3 format;
  return format;
}

}  // namespace mlxk
