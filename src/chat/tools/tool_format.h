#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tools.h"
#include "chat/tools/call_reader.h"
#include "chat/tools/grammar_text.h"
#include "chat/tools/tool_table.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// How calls are combined, as in the family's chat template.
struct CallSyntax {
  std::string begin;      // after the opening
  std::string separator;  // between calls
  std::string end;        // of the section
  bool one_section;       // further calls are in the same section; otherwise each has its own
};

/// One family's format of tool calls: a file in this folder, a line in tool_formats.inc.
class ToolFormat {
 public:
  virtual ~ToolFormat() = default;
  virtual std::string_view name() const = 0;
  /// Whether a chat template with this source writes such calls.
  virtual bool in_template(std::string_view source) const = 0;
  /// Whether a vocabulary belongs to a model that writes such calls, if the template does not tell.
  virtual bool in_vocabulary(const HasToken& /*has*/) const { return false; }
  /// The markers that begin a section of calls; empty if the first character of the answer may (bare JSON).
  virtual std::vector<std::string> openings() const = 0;
  /// Other special tokens that belong to the format.
  virtual std::vector<std::string> marks() const { return {}; }
  /// Reads a section after `opening`, one of openings(); `tools` must outlive the reader.
  virtual std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const = 0;
  virtual CallSyntax syntax(std::string_view opening, const Tokenizer& tokenizer) const = 0;
  /// The expression for a call of `tool` in the grammar `text`, with its arguments constrained by their schema.
  virtual std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view opening) const = 0;
  /// The opening that the model is made to write if it must call.
  virtual std::string written_opening() const { return openings().front(); }
  /// Whether an answer that begins with '{' may be a call: then reader() reads it with an empty opening.
  virtual bool bare() const { return false; }
  /// The beginning of such an answer for a call of `name`, as in call_grammar with an empty opening.
  virtual std::string bare_beginning(std::string_view /*name*/) const { return ""; }
};

}  // namespace mlxk
