#pragma once

#include <functional>
#include <string>

#include "serve/serve_options.h"

namespace mlxk {

/// Serves until a signal: the first waits for answers in progress, the second leaves immediately. `started` gets the
/// address ("http://127.0.0.1:8000") and the port once the server listens. Returns the exit code; throws if it cannot
/// start.
int serve(const ServeOptions& options, const std::function<void(const std::string& address, int port)>& started);

}  // namespace mlxk
