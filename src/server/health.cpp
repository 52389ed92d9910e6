#include "server/health.h"

#include "server/metrics.h"

namespace mlxk {

HttpResponse show_health(ServerContext& /*context*/, const ApiCall& /*call*/) {
  HttpResponse response;
  response.body = R"({"status":"healthy","service":"mlx-knife-server-2.0","version":")" MLXK_VERSION R"("})";
  return response;
}

HttpResponse show_ready(ServerContext& /*context*/, const ApiCall& /*call*/) {
  HttpResponse response;
  response.body = R"({"status":"ready"})";
  return response;
}

HttpResponse show_metrics(ServerContext& context, const ApiCall& /*call*/) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  response.body = context.metrics.text();
  return response;
}

}  // namespace mlxk
