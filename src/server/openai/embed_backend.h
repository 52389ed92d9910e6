#pragma once

#include "server/context.h"

namespace mlxk {

/// Forwards the request of `call` unchanged to the server of --embed-backend, and answers with its answer: 502 if it
/// cannot be reached, 504 if it takes too long.
void forward_embeddings(ServerContext& context, ApiCall call);

}  // namespace mlxk
