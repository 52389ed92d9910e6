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

/// The tools of a request.
struct ToolOptions {
  enum class Choice { none, automatic, required, named };
  // OpenAI's: [{"type":"function","function":{"name","description","parameters","strict"}}]
  Json tools = Json::array();
  Choice choice = Choice::automatic;  // none also if there are no tools
  std::string name;                   // of Choice::named
  bool parallel = true;               // more than one call in an answer

  /// Whether the model may call tools.
  bool active() const { return choice != Choice::none && !tools.empty(); }
};

/// The format of a model's tool calls: one of the families of tool_formats.inc. Immutable, any thread, lives as long as
/// the program.
class ToolFormat;

/// Whether a vocabulary has a token.
using HasToken = std::function<bool(std::string_view token)>;

/// Recognises the format from the chat template's source, then from the vocabulary; null if the template does not
/// support tools.
const ToolFormat* detect_tool_format(std::string_view template_source, const HasToken& has_token);
const ToolFormat* detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer);

/// The format for models whose template does not support tools: see chat/generic_tools.h.
const ToolFormat& generic_tool_format();

/// The family's name in the table: "json_tools".
std::string_view tool_format_name(const ToolFormat& format);

}  // namespace mlxk
