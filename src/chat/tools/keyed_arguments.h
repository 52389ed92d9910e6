#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chat/tools/tagged_calls.h"
#include "chat/tools/tool_formats.h"

namespace mlxk {

/// Families that write a call as its name and, for each argument, a tag with the key and one with the value.
class KeyedArguments : public ToolFormat {
 public:
  /// `template_mark` identifies the family's template; `prefix` precedes the names of all tags.
  KeyedArguments(std::string_view name, std::string_view template_mark, const std::string& prefix);

  std::string_view name() const override { return name_; }
  bool in_template(std::string_view source) const override;
  std::vector<std::string> openings() const override { return {open_}; }
  std::vector<std::string> marks() const override { return {close_, key_open_, key_close_, value_open_, value_close_}; }
  std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const override;
  CallSyntax syntax(std::string_view opening, const Tokenizer& tokenizer) const override;
  std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view opening) const override;

 private:
  TaggedCallsFormat tags() const;

  std::string_view name_, template_mark_;
  std::string open_, close_, key_open_, key_close_, value_open_, value_close_;
};

}  // namespace mlxk
