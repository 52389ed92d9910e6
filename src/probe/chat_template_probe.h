#pragma once

#include "probe/files.h"

namespace mlxk {

/// Whether the model brings a chat template, in any of the places where one may lie. Large files are scanned for the
/// key, not parsed.
bool has_chat_template(const ModelFiles& files);

}  // namespace mlxk
