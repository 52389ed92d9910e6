#pragma once

#include "server/context.h"

namespace mlxk {

/// Sends the request of `call` on to the server behind --embed-backend, as it came, and answers with what that answers:
/// 502 where it cannot be reached, 504 where it takes too long.
void forward_embeddings(ServerContext& context, ApiCall call);

}  // namespace mlxk
