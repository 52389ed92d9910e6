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

/// Finds the tool calls in an answer that comes in pieces. What it gives depends on the text alone, never on how it was
/// cut: the text between calls without the blanks around them, and each call's name and arguments. The arguments'
/// pieces make valid JSON. Markup that is no call is text, as it stands; from when its name and the beginning of its
/// arguments were read a call is a call, and where its arguments break off they are closed.
class ToolCallSplitter {
 public:
  /// `format` null, or options that are not active: all is text.
  ToolCallSplitter(const ToolFormat* format, const ToolOptions& options);
  ~ToolCallSplitter();
  ToolCallSplitter(ToolCallSplitter&&) noexcept;
  ToolCallSplitter& operator=(ToolCallSplitter&&) noexcept;

  std::vector<Part> push(std::string_view text);
  /// A call whose name is already known begins: `json`, the pieces of push_arguments, are its arguments.
  std::vector<Part> begin_call(std::string name);
  std::vector<Part> push_arguments(std::string_view json);
  /// What is still held back.
  std::vector<Part> finish();
  /// Whether no more of the output is wanted: the one call of an answer without parallel calls is complete.
  bool complete() const;
  /// Calls begun so far.
  int calls() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mlxk
