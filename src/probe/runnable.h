#pragma once

#include "probe/files.h"
#include "probe/model_info.h"

namespace mlxk {

/// Sets text, vision, audio, embedding and reason of a healthy model.
void judge_runnable(ModelInfo& info, const ModelFiles& files);

}  // namespace mlxk
