#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/marker_scanner.h"
#include "chat/tools.h"
#include "chat/tools/call_reader.h"
#include "chat/tools/json_stream.h"
#include "chat/tools/tool_table.h"

namespace mlxk {

/// Finds the tool calls in an answer that arrives in pieces. The result depends on the text alone, never on how it was
/// split: the text between calls without surrounding whitespace, and each call's name and arguments. The pieces of the
/// arguments form valid JSON. Markup that is not a call is passed on as text. Once its name and the beginning of its
/// arguments were read, a call counts as one, and arguments that break off are closed.
class ToolCallSplitter {
 public:
  /// If `format` is null, or the options are not active, everything is text.
  ToolCallSplitter(const ToolFormat* format, const ToolOptions& options);
  ~ToolCallSplitter();
  ToolCallSplitter(ToolCallSplitter&&) noexcept;
  ToolCallSplitter& operator=(ToolCallSplitter&&) noexcept;

  std::vector<Part> push(std::string_view text);
  /// Begins a call whose name is already known: its arguments are `json` and the pieces from push_arguments.
  std::vector<Part> begin_call(std::string name);
  std::vector<Part> push_arguments(std::string_view json);
  /// Returns the text held back.
  std::vector<Part> finish();
  /// Whether the rest of the output is not needed: the one call of an answer without parallel calls is complete.
  bool complete() const;
  /// Calls begun so far.
  int calls() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxk
