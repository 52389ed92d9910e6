#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/tools/call_reader.h"
#include "chat/tools/tool_table.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// One family's way of writing tool calls: a file of this folder, a line of tool_formats.inc.
class ToolFormat {
 public:
  virtual ~ToolFormat() = default;
  virtual std::string_view name() const = 0;
  /// Whether a chat template with this source writes such calls.
  virtual bool in_template(std::string_view source) const = 0;
  /// Whether a vocabulary is of a model that writes such calls, where the template does not tell.
  virtual bool in_vocabulary(const Tokenizer& /*tokenizer*/) const { return false; }
  /// What begins a section of calls; empty where the first character of the answer may (bare JSON).
  virtual std::vector<std::string> openings() const = 0;
  /// What else may be special tokens that belong to the format.
  virtual std::vector<std::string> marks() const { return {}; }
  /// Reads a section from behind `opening`, one of openings(); `tools` outlives it.
  virtual std::unique_ptr<CallReader> reader(const ToolTable& tools, std::string_view opening) const = 0;
  /// Whether an answer that begins with '{' may be a call: read by reader() with an empty opening.
  virtual bool bare() const { return false; }
};

}  // namespace mlxk
