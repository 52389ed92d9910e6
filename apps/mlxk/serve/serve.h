#pragma once

#include <functional>
#include <string>

#include "serve/serve_options.h"

namespace mlxk {

/// Serves until a signal ends it: the first lets answers under way end, the second leaves at once. `started` is told
/// the address ("http://127.0.0.1:8000") and the port once the server listens. Returns the exit code; throws what keeps
/// it from starting.
int serve(const ServeOptions& options, const std::function<void(const std::string& address, int port)>& started);

}  // namespace mlxk
