#pragma once

#include "server/api_error.h"
#include "worker/request.h"

namespace mlxk {

/// What the engine failed with, as the client is told.
ApiError api_error(const FailedEvent& failed);

}  // namespace mlxk
