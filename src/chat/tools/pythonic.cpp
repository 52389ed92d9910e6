// <|tool_call_start|>[f(a=1, b="x")]<|tool_call_end|>: LFM2, and MiniCPM3 with a call a line in a fence.
// <function_calls>f(a=1, b="x")</function_calls>, a call a line: OLMo 3.
#include <algorithm>

#include "chat/tools/headed_calls.h"
#include "chat/tools/tool_formats.h"
#include "chat/tools/typed_value.h"
#include "chat/tools/whole_calls.h"

namespace mlxk {

namespace {
void skip_blanks(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

bool take(std::string_view& text, char c) {
  skip_blanks(text);
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

std::string word(std::string_view& text) {
  skip_blanks(text);
  size_t size = 0;
  while (size < text.size() && is_function_name(text.substr(size, 1))) ++size;
  const std::string out(text.substr(0, size));
  text.remove_prefix(size);
  return out;
}

/// A literal, or unquoted words up to the next argument.
std::optional<Json> value(std::string_view& text) {
  std::string_view behind = text;
  if (auto literal = take_literal(behind)) {
    skip_blanks(behind);
    if (!behind.empty() && (behind[0] == ',' || behind[0] == ')')) {
      text = behind;
      return literal;
    }
  }
  const size_t end = text.find_first_of(",)\"'");
  if (end == std::string_view::npos || end == 0 || text[end] == '"' || text[end] == '\'') return std::nullopt;
  std::string words(text.substr(0, end));
  words.erase(words.find_last_not_of(" \t\r\n") + 1);
  text.remove_prefix(end);
  return Json(words);
}

/// `f(a=1, b="x")`
std::optional<WholeCall> take_call(std::string_view& text) {
  WholeCall call{word(text), Json::object()};
  if (!is_function_name(call.name) || !take(text, '(')) return std::nullopt;
  while (!take(text, ')')) {
    if (!call.arguments.empty() && !take(text, ',')) return std::nullopt;
    const std::string key = word(text);
    if (key.empty() || !take(text, '=')) return std::nullopt;
    skip_blanks(text);
    auto argument = value(text);
    if (!argument) return std::nullopt;
    call.arguments[key] = std::move(*argument);
  }
  return call;
}

/// A list, or one call a line, optionally in a fence.
std::optional<std::vector<WholeCall>> parse_pythonic(std::string_view text) {
  constexpr std::string_view kFence = "```";
  skip_blanks(text);
  if (text.starts_with(kFence)) {
    text.remove_prefix(std::min(text.find('\n'), text.size()));
    text = text.substr(0, text.rfind(kFence));
  }
  const bool list = take(text, '[');
  std::vector<WholeCall> calls;
  do {
    auto call = take_call(text);
    if (!call) return std::nullopt;
    calls.push_back(std::move(*call));
    skip_blanks(text);
  } while (list ? take(text, ',') : !text.empty());
  if (list && !take(text, ']')) return std::nullopt;
  return calls;
}

class Pythonic : public ToolFormat {
 public:
  Pythonic(std::string_view name, std::vector<std::string_view> in_template, std::string open, std::string close,
           CallSyntax syntax)
      : name_(name),
        in_template_(std::move(in_template)),
        open_(std::move(open)),
        close_(std::move(close)),
        syntax_(std::move(syntax)) {}

  std::string_view name() const override { return name_; }
  bool in_template(std::string_view source) const override {
    return std::any_of(in_template_.begin(), in_template_.end(), [&](auto mark) { return contains(source, mark); });
  }
  bool in_vocabulary(const HasToken& has) const override { return has(open_) && has(close_); }
  std::vector<std::string> openings() const override { return {open_}; }
  std::vector<std::string> marks() const override { return {close_}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return std::make_unique<WholeCalls>(close_, parse_pythonic);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override { return syntax_; }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return text.literal(tool.name + "(") + " " +
           text.members(tool, ", ",
                        [&](const std::string& key, const Json& schema) {
                          return text.literal(key + "=") + " " + text.json(schema, tool);
                        }) +
           " " + text.literal(")");
  }

 private:
  std::string_view name_;
  std::vector<std::string_view> in_template_;
  std::string open_, close_;
  CallSyntax syntax_;
};
}  // namespace

const ToolFormat& pythonic_format() {
  static const Pythonic format("pythonic", {"<|tool_list_start|>", "<|tool_call_start|>"}, "<|tool_call_start|>",
                               "<|tool_call_end|>", {"[", ", ", "]<|tool_call_end|>", true});
  return format;
}

const ToolFormat& olmo3_format() {
  static const Pythonic format("olmo3", {"<function_calls>"}, "<function_calls>", "</function_calls>",
                               {"", "\n", "</function_calls>", true});
  return format;
}

}  // namespace mlxk
