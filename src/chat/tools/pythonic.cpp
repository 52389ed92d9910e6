// <|tool_call_start|>[f(a=1, b="x")]<|tool_call_end|>: LFM2.
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

/// A literal, or words without quotes up to the next argument.
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

std::optional<std::vector<WholeCall>> parse_pythonic(std::string_view text) {
  std::vector<WholeCall> calls;
  if (!take(text, '[')) return std::nullopt;
  do {
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
    calls.push_back(std::move(call));
  } while (take(text, ','));
  if (!take(text, ']')) return std::nullopt;
  return calls;
}

class Pythonic : public ToolFormat {
 public:
  std::string_view name() const override { return "pythonic"; }
  bool in_template(std::string_view source) const override {
    return contains(source, "<|tool_list_start|>") || contains(source, "<|tool_call_start|>");
  }
  bool in_vocabulary(const HasToken& has) const override {
    return has("<|tool_call_start|>") && has("<|tool_call_end|>");
  }
  std::vector<std::string> openings() const override { return {"<|tool_call_start|>"}; }
  std::vector<std::string> marks() const override { return {"<|tool_call_end|>"}; }
  std::unique_ptr<CallReader> reader(const ToolTable&, std::string_view) const override {
    return std::make_unique<WholeCalls>("<|tool_call_end|>", parse_pythonic);
  }
  CallSyntax syntax(std::string_view, const Tokenizer&) const override {
    return {"[", ", ", "]<|tool_call_end|>", true};
  }
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view) const override {
    return text.literal(tool.name + "(") + " " +
           text.members(tool, ", ",
                        [&](const std::string& key, const Json& schema) {
                          return text.literal(key + "=") + " " + text.json(schema, tool);
                        }) +
           " " + text.literal(")");
  }
};
}  // namespace

const ToolFormat& pythonic_format() {
  static const Pythonic format;
  return format;
}

}  // namespace mlxk
