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

/// How calls stand together, as the family's chat template writes them.
struct CallSyntax {
  std::string begin;      // behind the opening
  std::string separator;  // between calls
  std::string end;        // of the section
  bool one_section;       // further calls stand in the same section; otherwise each has its own
};

/// One family's way of writing tool calls: a file of this folder, a line of tool_formats.inc.
class ToolFormat {
 public:
  virtual ~ToolFormat() = default;
  virtual std::string_view name() const = 0;
  /// Whether a chat template with this source writes such calls.
  virtual bool in_template(std::string_view source) const = 0;
  /// Whether a vocabulary is of a model that writes such calls, where the template does not tell.
  virtual bool in_vocabulary(const HasToken& /*has*/) const { return false; }
  /// What begins a section of calls; empty where the first character of the answer may (bare JSON).
  virtual std::vector<std::string> openings() const = 0;
  /// What else may be special tokens that belong to the format.
  virtual std::vector<std::string> marks() const { return {}; }
  /// Reads a section from behind `opening`, one of openings(); `tools` outlives it.
  virtual std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const = 0;
  virtual CallSyntax syntax(std::string_view opening, const Tokenizer& tokenizer) const = 0;
  /// The expression of a call of `tool` in the grammar `text`, its arguments held to their schema.
  virtual std::string call_grammar(GrammarText& text, const ToolFunction& tool, std::string_view opening) const = 0;
  /// The opening that the model is made to write where it must call.
  virtual std::string written_opening() const { return openings().front(); }
  /// Whether an answer that begins with '{' may be a call: read by reader() with an empty opening.
  virtual bool bare() const { return false; }
  /// How a call of `name` begins such an answer, as call_grammar with an empty opening has it.
  virtual std::string bare_beginning(std::string_view /*name*/) const { return ""; }
};

}  // namespace mlxk
