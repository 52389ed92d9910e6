#pragma once

#include "server/api_error.h"
#include "worker/request.h"

namespace mlxk {

/// The engine's failure in the form that the client sees.
ApiError api_error(const FailedEvent& failed);

}  // namespace mlxk
