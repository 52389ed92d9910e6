#include "chat/tools/tool_formats.h"

#include "chat/tools.h"

namespace mlxk {

namespace {
std::vector<const ToolFormat*> formats() {
  return {
#define MLXK_TOOL_FORMAT(name) &name##_format(),
#include "chat/tools/tool_formats.inc"
#undef MLXK_TOOL_FORMAT
  };
}
}  // namespace

const ToolFormat* detect_tool_format(std::string_view template_source, const HasToken& has_token) {
  for (const ToolFormat* format : formats()) {
    if (format->in_template(template_source)) return format;
  }
  for (const ToolFormat* format : formats()) {
    if (format->in_vocabulary(has_token)) return format;
  }
  return nullptr;
}

const ToolFormat* detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer) {
  return detect_tool_format(template_source,
                            [&](std::string_view token) { return tokenizer.token_to_id(token).has_value(); });
}

const ToolFormat& generic_tool_format() { return json_tools_format(); }

std::string_view tool_format_name(const ToolFormat& format) { return format.name(); }

}  // namespace mlxk
