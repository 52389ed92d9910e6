#include "server/openai/embed_backend.h"

#include <fmt/format.h>

#include "server/api_error.h"
#include "server/task_pool.h"

namespace mlxk {

namespace {

constexpr int kConnectSeconds = 3, kReadSeconds = 120;

HttpCall forwarded(const ServerContext& context, const ApiCall& call) {
  HttpCall sent;
  sent.url = context.embed_backend + "/v1/embeddings";
  sent.method = "POST";
  const auto type = call.request.headers.find("content-type");
  sent.headers = {fmt::format("Content-Type: {}", type ? *type : "application/json"),
                  fmt::format("X-Request-ID: {}", call.exchange->request_id())};
  sent.body = call.request.body;
  sent.connect_seconds = kConnectSeconds;
  sent.stall_seconds = kReadSeconds;
  sent.cancelled = [exchange = call.exchange] { return exchange->closed(); };
  return sent;
}

}  // namespace

HttpResponse backend_answer(HttpClient& client, const HttpCall& call) {
  const HttpReply reply = client.send(call);
  if (!reply.failure.empty()) {
    const int status = reply.stalled ? 504 : 502;
    throw ApiError(ErrorKind::network, fmt::format("the embedding backend does not answer: {}", reply.failure), "",
                   reply.stalled ? "backend_timeout" : "backend_unreachable", status);
  }
  HttpResponse response;
  response.status = reply.status;
  response.body = reply.body;
  if (const std::string type = header_value(reply.headers, "Content-Type"); !type.empty()) response.content_type = type;
  if (const std::string later = header_value(reply.headers, "Retry-After"); !later.empty()) {
    response.headers.add("Retry-After", later);
  }
  return response;
}

void forward_embeddings(ServerContext& context, ApiCall call) {
  const TaskTurn turn = call.turn;
  context.forwarding.run(
      [&context, call = std::make_shared<const ApiCall>(std::move(call))] {
        if (call->exchange->closed()) return;
        answer_errors(
            *call->exchange,
            [&] {
              thread_local HttpClient client;  // keeps its connection
              call->exchange->respond(backend_answer(client, forwarded(context, *call)));
            },
            call->error_style);
      },
      turn);
}

}  // namespace mlxk
