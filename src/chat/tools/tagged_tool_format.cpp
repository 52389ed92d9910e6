#include "chat/tools/tagged_tool_format.h"

namespace mlxk {

std::vector<std::string> TaggedToolFormat::marks() const {
  std::vector<std::string> marks;
  for (const std::string& opening : openings()) {
    const TaggedCallsFormat format = tags(opening);
    marks.emplace_back(format.section_close.empty() ? format.call_close : format.section_close);
  }
  return marks;
}

std::unique_ptr<CallReader> TaggedToolFormat::reader(const ToolTable& tools, std::string_view opening) const {
  return std::make_unique<TaggedCalls>(tags(opening), tools);
}

CallSyntax TaggedToolFormat::syntax(std::string_view opening, const Tokenizer&) const {
  const TaggedCallsFormat format = tags(opening);
  const std::string line(format.line);
  if (format.section_close.empty()) return {line, line, "", false};
  return {line, line, line + std::string(format.section_close), true};
}

std::string TaggedToolFormat::call_grammar(GrammarText& text, const ToolFunction& tool,
                                           std::string_view opening) const {
  return tagged_call_grammar(text, tags(opening), tool);
}

}  // namespace mlxk
