#pragma once

#include "server/context.h"

namespace mlxk {

/// GET /health: 200 while the generation loop iterates, 503 once it has been stuck for too long. Does not wait for the
/// worker thread.
HttpResponse show_health(ServerContext& context, const ApiCall& call);
/// GET /ready: 200 once the pinned model is loaded; 503 before, and while the server drains.
HttpResponse show_ready(ServerContext& context, const ApiCall& call);
/// GET /metrics: Prometheus' text format.
HttpResponse show_metrics(ServerContext& context, const ApiCall& call);

}  // namespace mlxk
