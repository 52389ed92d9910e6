#pragma once

#include "http/client.h"
#include "server/context.h"

namespace mlxk {

/// Forwards the request of `call` unchanged to the server of --embed-backend, and answers with its answer: 502 if it
/// cannot be reached, 504 if it takes too long.
void forward_embeddings(ServerContext& context, ApiCall call);

/// The backend's answer to `call`. Throws ApiError: 502 if there is none, 504 if nothing came for call.stall_seconds.
HttpResponse backend_answer(HttpClient& client, const HttpCall& call);

}  // namespace mlxk
