#pragma once

#include <string_view>

#include "probe/model_info.h"

namespace mlxk {

/// How a model calls tools.
enum class ToolSupport {
  none,     // it has no chat template
  generic,  // its template does not support tools; a message describes them (chat/generic_tools.h)
  native,   // its template describes them in a known form
};

/// "none", "generic", "native": as in `show` and /v1/models.
std::string_view tool_support_name(ToolSupport support);

/// The support of a model that is not loaded, by its files; none if they cannot be read.
ToolSupport tool_support_of(const ModelInfo& info);

}  // namespace mlxk
