#pragma once

#include "probe/files.h"

namespace mlxk {

/// Whether the model has a chat template in any of the possible files. Large files are scanned for the key, not parsed.
bool has_chat_template(const ModelFiles& files);

}  // namespace mlxk
