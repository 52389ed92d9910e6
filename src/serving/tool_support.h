#pragma once

#include <string_view>

#include "probe/model_info.h"

namespace mlxk {

/// How a model comes to call tools.
enum class ToolSupport {
  none,     // it has no chat template
  generic,  // its template knows no tools; they are described in a message (chat/generic_tools.h)
  native,   // its template describes them in a form that is known here
};

/// "none", "generic", "native": as `show` and /v1/models say it.
std::string_view tool_support_name(ToolSupport support);

/// That of a model which is not loaded, by its files; none also where they cannot be read.
ToolSupport tool_support_of(const ModelInfo& info);

}  // namespace mlxk
