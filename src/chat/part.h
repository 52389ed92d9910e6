#pragma once

#include <string>

namespace mlxk {

/// A part of a tool call: its name in the first delta, then pieces of its arguments' JSON text.
struct ToolCallDelta {
  int index = 0;
  std::string name;       // the whole name, in the first delta of a call; empty in later ones
  std::string arguments;  // the next piece of the arguments' JSON text
};

/// A piece of a model's output.
struct Part {
  enum class Kind { answer, reasoning, tool_call } kind = Kind::answer;
  std::string text;         // answer, reasoning
  ToolCallDelta call = {};  // tool_call
};

}  // namespace mlxk
