#pragma once

#include <memory>

#include "worker/backend.h"

namespace mlxk {

/// Opens libmlxk_engine (and with it libmlx) beside the program or in ../lib/mlxk, once per process, and makes its
/// backend; throws unsupported if the library is absent, internal if its version differs. Worker thread.
std::unique_ptr<Backend> open_engine();

}  // namespace mlxk
