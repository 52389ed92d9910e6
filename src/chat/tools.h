#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chat/part.h"
#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// What a request says of tools.
struct ToolOptions {
  enum class Choice { none, automatic, required, named };
  // OpenAI's: [{"type":"function","function":{"name","description","parameters","strict"}}]
  Json tools = Json::array();
  Choice choice = Choice::automatic;  // none also where there are no tools
  std::string name;                   // of Choice::named
  bool parallel = true;               // more than one call in an answer

  /// Whether the model may call tools.
  bool active() const { return choice != Choice::none && !tools.empty(); }
};

/// How a model writes tool calls: one of the families of tool_formats.inc. Immutable, any thread, lives as long as the
/// program.
class ToolFormat;

/// Whether a vocabulary has a token.
using HasToken = std::function<bool(std::string_view token)>;

/// Recognised from the chat template's source, then from the vocabulary; null when the template knows no tools.
const ToolFormat* detect_tool_format(std::string_view template_source, const HasToken& has_token);
const ToolFormat* detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer);

/// The family in which models whose template knows no tools call them: see chat/generic_tools.h.
const ToolFormat& generic_tool_format();

/// The family's name, as the table has it: "json_tools".
std::string_view tool_format_name(const ToolFormat& format);

}  // namespace mlxk
