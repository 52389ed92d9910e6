#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// What a request says of tools.
struct ToolOptions {
  enum class Choice { none, automatic, required, named };
  Json tools = Json::array();  // OpenAI's: [{"type":"function","function":{"name","description","parameters"}}]
  Choice choice = Choice::automatic;  // none also where there are no tools
  std::string name;                   // of Choice::named
  bool parallel = true;               // more than one call in an answer
};

/// More of a tool call: its name with the first delta, then its arguments' JSON text in pieces.
struct ToolCallDelta {
  int index = 0;
  std::string name;       // the whole name, in the first delta of a call; empty in later ones
  std::string arguments;  // the next piece of the arguments' JSON text
};

/// How a model writes tool calls: one of the families of tool_formats.inc.
class ToolFormat;

/// Recognised from the chat template's source and the vocabulary, in mlx-lm's order; null when the model calls no tools.
const ToolFormat* detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer);

}  // namespace mlxk
