#pragma once

#include <memory>

#include "worker/backend.h"

namespace mlxk {

/// Opens libmlxk_engine (and with it libmlx) beside the program or in ../lib/mlxk, once a process, and makes its
/// backend; throws unsupported when the library is absent, internal when it is another version's. Worker thread.
std::unique_ptr<Backend> open_engine();

}  // namespace mlxk
