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

const ToolFormat* detect_tool_format(std::string_view template_source, const Tokenizer& tokenizer) {
  for (const ToolFormat* format : formats()) {
    if (format->in_template(template_source)) return format;
  }
  for (const ToolFormat* format : formats()) {
    if (format->in_vocabulary(tokenizer)) return format;
  }
  return nullptr;
}

std::string_view tool_format_name(const ToolFormat& format) { return format.name(); }

}  // namespace mlxk
