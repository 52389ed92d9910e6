#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

/// Families that write name and parameters between tags; they differ in their tags only.
class TaggedToolFormat : public ToolFormat {
 public:
  std::vector<std::string> marks() const override;
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const override;
  /// All calls are in one section if that has a closing tag; otherwise each has its own.
  CallSyntax syntax(std::string_view opening, const Tokenizer& tokenizer) const override;
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view opening) const override;

 protected:
  virtual TaggedCallsFormat tags(std::string_view opening) const = 0;
};

}  // namespace mlxk
