#include "server/server.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/stop.h"
#include "server/api_error.h"
#include "server/openai/schema.h"
#include "server/preparation.h"
#include "server/routes.h"
#include "serving/model_pool.h"
#include "transport/web_socket.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

/// The media type of a body, without its parameters, in lower case.
std::string media_type(const HttpRequest& head) {
  const auto value = head.headers.find("content-type");
  if (!value) return {};
  std::string type;
  for (const char c : value->substr(0, value->find(';'))) {
    if (c != ' ' && c != '\t') type += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return type;
}

HttpResponse too_many(const HttpRequest& head, const char* message, ErrorStyle style) {
  HttpResponse response = error_response(429, message, head.id, "", "queue_full", "", style);
  response.headers.add("Retry-After", "1");
  return response;
}

/// Adds the CORS headers to the answer, also if another thread begins it later.
class GuardedExchange : public Exchange {
 public:
  GuardedExchange(std::shared_ptr<Exchange> inner, HttpResponse decoration)
      : inner_(std::move(inner)), decoration_(std::move(decoration)) {}
  const std::string& request_id() const override { return inner_->request_id(); }
  void respond(HttpResponse response) override { inner_->respond(decorated(std::move(response))); }
  void begin(HttpResponse head) override { inner_->begin(decorated(std::move(head))); }
  void send(std::string bytes) override { inner_->send(std::move(bytes)); }
  void finish() override { inner_->finish(); }
  void upgrade(WebSocketPlan plan) override {
    for (const auto& [name, value] : decoration_.headers.fields()) plan.headers.add(name, value);
    inner_->upgrade(std::move(plan));
  }
  size_t unsent_bytes() const override { return inner_->unsent_bytes(); }
  bool closed() const override { return inner_->closed(); }
  void on_close(std::function<void()> gone) override { inner_->on_close(std::move(gone)); }
  void post(std::function<void()> task) override { inner_->post(std::move(task)); }

 private:
  HttpResponse decorated(HttpResponse response) const {
    for (const auto& [name, value] : decoration_.headers.fields()) response.headers.add(name, value);
    return response;
  }

  std::shared_ptr<Exchange> inner_;
  HttpResponse decoration_;  // its headers are added to every answer
};

constexpr size_t kMaxShownPath = 200;
constexpr int kWaitingThreads = 4;  // loads follow each other anyway
constexpr int kBriefThreads = 2;
constexpr int kForwardingThreads = 16;  // each waits for one answer
constexpr size_t kLargeBody = 1 << 20;  // bytes; a larger request may take long to prepare
constexpr const char* kTooManyRecordings = "Too many recordings wait already.";
constexpr double kRecordingsRetryAfter = 5;
}  // namespace

Server::Server(Worker& worker, ModelPool& models, const Guard& guard, ServerOptions options)
    : guard_(guard),
      options_(std::move(options)),
      context_{worker,
               models,
               metrics_,
               preparation_,
               waiting_,
               brief_,
               forwarding_,
               [this](std::function<void()> task) { post_transcription(std::move(task)); },
               [this](std::function<void()> task) { transcription_.run(std::move(task)); },
               ticker_,
               draining_,
               options_.default_max_tokens,
               options_.inline_reasoning,
               options_.generic_tools,
               options_.images,
               options_.allow_truncate,
               options_.embed_backend,
               options_.audio_limit,
               options_.stuck_after,
               options_.preparation_timeout,
               options_.recorder,
               {0}},
      ticker_(options_.keep_alive),
      upload_room_(std::make_shared<SpoolRoom>(options_.upload_room)),
      transcription_(options_.transcription_threads),
      forwarding_(options_.embed_backend.empty() ? 0 : kForwardingThreads),
      waiting_(kWaitingThreads),
      preparation_(options_.preparation_threads),
      brief_(kBriefThreads) {}

Server::~Server() {
  // First of all: the tasks of the pools use the other members, the pools among them.
  for (TaskPool* pool : {&transcription_, &forwarding_, &waiting_, &preparation_, &brief_}) pool->close();
}

void Server::post_transcription(std::function<void()> task) {
  if (transcription_.waiting() >= options_.max_recordings) {
    ApiError error(ErrorKind::unavailable, kTooManyRecordings, "", "queue_full", 429);
    error.retry_after_s = kRecordingsRetryAfter;
    throw error;
  }
  transcription_.run(std::move(task));
}

std::optional<HttpResponse> Server::refuse(const HttpRequest& head, const RouteMatch& match) const {
  std::string key_id;
  if (auto refusal = guard_.check(head, match.route ? match.route->scope : Scope::inference, key_id)) return refusal;
  if (!match.route && match.allowed.empty()) {
    std::string message =
        fmt::format("There is no {} {} here", head.method, log::redact(schema::shown(head.path, kMaxShownPath)));
    const std::string similar = similar_path(head.path);
    message += similar.empty() ? "; GET /openapi.json lists the routes" : "; did you mean " + similar + "?";
    return error_response(404, message, head.id, "", "unknown_route");
  }
  if (!match.route) {
    HttpResponse response =
        error_response(405, fmt::format("{} takes {}, not {}.", head.path, match.allowed, head.method), head.id, "",
                       "method_not_allowed");
    response.headers.add("Allow", match.allowed);
    return response;
  }
  const ErrorStyle style = match.route->error_style;
  const auto refusal = [&](int status, std::string_view message, std::string_view code) {
    return error_response(status, message, head.id, "", code, "", style);
  };
  if (const auto* unbuilt = std::get_if<Unbuilt>(&match.route->handler)) {
    return refusal(501, unbuilt->reason, "not_built");
  }
  if (std::holds_alternative<Immediate>(match.route->handler)) return std::nullopt;
  if (draining_) {
    HttpResponse response = refusal(503, "Server is shutting down", "shutting_down");
    response.headers.add("Retry-After", "5");
    return response;
  }
  if (std::holds_alternative<Socketed>(match.route->handler)) {
    const std::string problem = websocket_problem(head);
    if (problem.empty()) return std::nullopt;
    HttpResponse response = refusal(426, problem, "upgrade_required");
    response.headers.add("Upgrade", "websocket");
    return response;
  }
  const bool form = std::holds_alternative<Uploaded>(match.route->handler);
  const std::string type = media_type(head);
  if (form && type != "multipart/form-data") {
    return refusal(415, "The body must be a form: Content-Type: multipart/form-data.", "unsupported_media_type");
  }
  // A page in a browser can send text/plain, and a body without a type, anywhere without a preflight.
  if (!form && match.route->body_limit > 0 && type != "application/json") {
    return refusal(415, "The body must be JSON: Content-Type: application/json.", "unsupported_media_type");
  }
  if (form && transcription_.waiting() >= options_.max_recordings) return too_many(head, kTooManyRecordings, style);
  if (preparation_.waiting() + waiting_.waiting() >= options_.max_preparing)
    return too_many(head, "Too many requests wait already.", style);
  return std::nullopt;
}

BodyPlan Server::plan(const HttpRequest& head) {
  BodyPlan plan;
  const RouteMatch match = match_route(head.method, head.path);
  plan.refusal = refuse(head, match);
  if (match.route) plan.limit = match.route->body_limit;
  if (!plan.refusal && std::holds_alternative<Uploaded>(match.route->handler)) {
    try {
      plan.sink = std::make_shared<UploadForm>(*head.headers.find("content-type"), options_.audio_limit, upload_room_);
      plan.limit += options_.audio_limit;
    } catch (const Error& error) {
      plan.refusal = error_response(error, head.id, match.route->error_style);
    }
  }
  if (plan.refusal) guard_.decorate(head, *plan.refusal);
  return plan;
}

void Server::handle(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  RouteMatch match = match_route(request.method, request.path);
  HttpResponse decoration;
  guard_.decorate(request, decoration);
  if (!decoration.headers.fields().empty())
    exchange = std::make_shared<GuardedExchange>(exchange, std::move(decoration));
  ApiCall call{.exchange = exchange, .name = std::move(match.name)};
  if (!match.route) return;  // plan() has refused it
  call.error_style = match.route->error_style;
  if (auto refusal = guard_.check(request, match.route->scope, call.key_id))
    return exchange->respond(std::move(*refusal));
  // Without keys clients are distinguished by their address.
  const std::string host = request.remote.substr(0, request.remote.rfind(':'));
  call.turn = {call.key_id.empty() ? host : call.key_id, request.body.size() > kLargeBody};
  call.request = std::move(request);
  const auto later = [&](TaskPool& pool, auto&& answer) {
    TaskTurn turn = call.turn;
    pool.run(
        [call = std::make_shared<ApiCall>(std::move(call)), answer] {
          if (call->exchange->closed()) return;
          answer_errors(*call->exchange, [&] { answer(*call); }, call->error_style);
        },
        std::move(turn));
  };
  const auto document = [this](auto route) {
    return [this, route](ApiCall& call) { call.exchange->respond(route.answer(context_, call)); };
  };
  std::visit(Overloaded{
                 [&](const Immediate& route) {
                   answer_errors(*exchange, [&] { exchange->respond(route.answer(context_, call)); }, call.error_style);
                 },
                 [&](const Prepared& route) { later(brief_, document(route)); },
                 [&](const Waiting& route) { later(waiting_, document(route)); },
                 [&](const Streamed& route) {
                   later(preparation_, [this, route](ApiCall& call) {
                     const StopScope scope(preparation_check(context_, call.exchange));
                     route.begin(context_, call);
                   });
                 },
                 [&](const Uploaded& route) {
                   auto form = std::static_pointer_cast<UploadForm>(call.request.sink);
                   later(preparation_,
                         [this, route, form = std::move(form)](ApiCall& call) { route.begin(context_, call, form); });
                 },
                 [&](const Socketed& route) {
                   answer_errors(*exchange, [&] { route.open(context_, std::move(call)); }, match.route->error_style);
                 },
                 [](const Unbuilt&) {},
             },
             match.route->handler);
}

HttpResponse Server::refusal(int status, std::string_view message, const std::string& request_id) {
  HttpResponse response = error_response(status, message, request_id);
  if (status == 503) response.headers.add("Retry-After", "1");
  return response;
}

void Server::answered(const HttpRequest& head, int status, size_t bytes, double seconds) {
  const RouteMatch match = match_route(head.method, head.path);
  metrics_.count_request(match.route ? match.route->pattern : "other", status, seconds, bytes);
  if (options_.on_answered) options_.on_answered(head, status, bytes, seconds);
}

}  // namespace mlxk
