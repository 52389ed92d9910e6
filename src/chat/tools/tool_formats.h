#pragma once

#include <string_view>

#include "chat/tools/tool_format.h"

namespace mlxk {

#define MLXK_TOOL_FORMAT(name) const ToolFormat& name##_format();
#include "chat/tools/tool_formats.inc"
#undef MLXK_TOOL_FORMAT

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace mlxk
