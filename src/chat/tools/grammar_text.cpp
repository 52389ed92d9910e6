#include "chat/tools/grammar_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "chat/tools/typed_value.h"

namespace mlxk {

namespace {
/// A string literal in Lark and JSON syntax.
std::string quoted(std::string_view text) { return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace); }
}  // namespace

GrammarText::GrammarText(const Tokenizer& tokenizer, const std::vector<std::string>& marks) : tokenizer_(tokenizer) {
  for (const std::string& mark : marks) {
    // A mark may be several special tokens, "<|open|>tools<|sep|>".
    const auto id = tokenizer.token_to_id(mark);
    if (id && tokenizer.is_special(*id)) special_.emplace_back(mark, *id);
    for (size_t at = 0; !id && (at = mark.find('<', at)) != std::string::npos; ++at) {
      const size_t end = mark.find('>', at);
      if (end == std::string::npos) break;
      const std::string token = mark.substr(at, end + 1 - at);
      const auto part = tokenizer.token_to_id(token);
      if (part && tokenizer.is_special(*part)) special_.emplace_back(token, *part);
    }
  }
}

std::string GrammarText::literal(std::string_view text) const {
  std::string out;
  while (!text.empty()) {
    size_t first = text.size();
    const std::pair<std::string, int32_t>* found = nullptr;
    for (const auto& token : special_) {
      const size_t at = text.find(token.first);
      if (at < first || (at == first && found && token.first.size() > found->first.size())) {
        first = at;
        found = &token;
      }
    }
    if (first > 0) out += quoted(text.substr(0, first)) + " ";
    if (!found) break;
    out += fmt::format("<[{}]> ", found->second);
    text.remove_prefix(first + found->first.size());
  }
  return out;
}

std::string GrammarText::json(Json schema, const ToolFunction& tool) const {
  if (!schema.is_object()) schema = schema == false ? Json{{"not", Json::object()}} : Json::object();
  // References point into the whole document's definitions.
  for (const char* definitions : {"$defs", "definitions"}) {
    const auto found = tool.parameters.find(definitions);
    if (found != tool.parameters.end() && !schema.contains(definitions)) schema[definitions] = *found;
  }
  Json options = {{"whitespace_pattern", "[ \\n]{1,20}"}};
  if (!tool.strict) options["lenient"] = true;
  schema["x-guidance"] = options;
  return "%json " + json_text(schema) + " ";
}

std::string GrammarText::arguments(const ToolFunction& tool) const { return json(tool.parameters, tool); }

std::string GrammarText::rule(const std::string& body) {
  const std::string name = fmt::format("r{}", ++names_);
  rules_ += name + ": " + (body.empty() ? "\"\"" : body) + "\n";
  return name;
}

std::string GrammarText::text() {
  const std::string name = fmt::format("T{}", ++names_);
  rules_ += name + ": /(?s:.+)/\n";
  return name + "? ";
}

std::string GrammarText::text_until(std::string_view close) {
  const std::string end = literal(close);
  if (end.find("<[") != std::string::npos) return text() + end;
  const std::string name = fmt::format("t{}", ++names_);
  rules_ += fmt::format("{}[suffix={}]: /(?s:.*)/\n", name, quoted(close));
  return name + " ";
}

std::string GrammarText::members(const Json& schema, const std::string& separator, const Member& member) {
  const Json properties = schema.is_object() ? schema.value("properties", Json::object()) : Json::object();
  std::set<std::string> required;
  if (const Json names = schema.is_object() ? schema.value("required", Json()) : Json(); names.is_array()) {
    for (const Json& name : names) {
      if (name.is_string()) required.insert(name.get<std::string>());
    }
  }
  if (!properties.is_object()) return "";
  // From the last to the first: the rest with a member before it, and without.
  std::string behind, alone;
  const std::vector<std::pair<std::string, Json>> all = [&] {
    std::vector<std::pair<std::string, Json>> out;
    for (const auto& [key, value] : properties.items()) out.emplace_back(key, value);
    return out;
  }();
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    const bool needed = required.count(one->first) > 0;
    const std::string name = rule(member(one->first, one->second));
    if (separator.empty()) {
      behind = rule(name + (needed ? " " : "? ") + behind);
      alone = behind;
      continue;
    }
    const std::string first = name + " " + behind;
    alone = rule(needed || alone.empty() ? (needed ? first : "(" + first + ")?") : first + " | " + alone);
    behind = rule("(" + literal(separator) + name + ")" + (needed ? " " : "? ") + behind);
  }
  return alone + " ";
}

std::string GrammarText::str(const std::string& start) const { return "start: " + start + "\n" + rules_; }

}  // namespace mlxk
