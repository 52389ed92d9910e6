#pragma once

#include "run/run.h"

namespace mlxk {

/// `mlxk run MODEL` without a prompt: an interactive chat, with line editing on a terminal. Returns the exit code.
int run_chat(OpenedModel& model, const RunOptions& options);

}  // namespace mlxk
