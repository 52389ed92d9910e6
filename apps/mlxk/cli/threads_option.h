#pragma once

#include "commands/command.h"

namespace mlxk {

/// The row `--threads` of commands that compute.
Option threads_option();

/// Passes `--threads` to the kernels, which read MLXK_THREADS once: call it before the engine is opened. Returns the
/// number of threads that they will use. Throws usage.
int apply_threads(const Args& args);

}  // namespace mlxk
