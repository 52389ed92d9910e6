#include "server/server.h"

#include <fmt/format.h>

#include "base/log.h"
#include "server/api_error.h"
#include "server/routes.h"

namespace mlxk {

namespace {
template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};
template <class... Functions>
Overloaded(Functions...) -> Overloaded<Functions...>;

/// Whether a body says that it is JSON. Anything else is refused: a page in a browser can send text/plain anywhere, and a
/// body without a type, without asking.
bool is_json(const HttpRequest& head) {
  const auto value = head.headers.find("content-type");
  if (!value) return false;
  std::string type;
  for (const char c : value->substr(0, value->find(';'))) {
    if (c != ' ' && c != '\t') type += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  }
  return type == "application/json";
}

/// What CORS wants of an answer, also of one that begins later on another thread.
class GuardedExchange : public Exchange {
 public:
  GuardedExchange(std::shared_ptr<Exchange> inner, HttpResponse decoration)
      : inner_(std::move(inner)), decoration_(std::move(decoration)) {}
  const std::string& request_id() const override { return inner_->request_id(); }
  void respond(HttpResponse response) override { inner_->respond(decorated(std::move(response))); }
  void begin(HttpResponse head) override { inner_->begin(decorated(std::move(head))); }
  void send(std::string bytes) override { inner_->send(std::move(bytes)); }
  void finish() override { inner_->finish(); }
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
  HttpResponse decoration_;  // its headers are added to any answer
};

constexpr int kWaitingThreads = 4;  // loads follow each other anyway
}  // namespace

Server::Server(Worker& worker, ModelPool& models, const Guard& guard, ServerOptions options)
    : guard_(guard),
      options_(std::move(options)),
      context_{worker, models, metrics_,
               [this](std::function<void()> task) { preparation_.run(std::move(task)); },
               [this](std::function<void()> task) { waiting_.run(std::move(task)); },
               ticker_, draining_, options_.default_max_tokens, options_.inline_reasoning, options_.stuck_after},
      ticker_(options_.keep_alive),
      waiting_(kWaitingThreads),
      preparation_(options_.preparation_threads) {}

std::optional<HttpResponse> Server::refuse(const HttpRequest& head, size_t& body_limit) const {
  const RouteMatch match = match_route(head.method, head.path);
  std::string key_id;
  if (auto refusal = guard_.check(head, match.route ? match.route->scope : Scope::inference, key_id)) return refusal;
  if (!match.route && match.allowed.empty()) {
    return error_response(404, fmt::format("There is no {} {} here.", head.method, head.path), head.id, "", "unknown_route");
  }
  if (!match.route) {
    HttpResponse response = error_response(405, fmt::format("{} takes {}, not {}.", head.path, match.allowed, head.method),
                                           head.id, "", "method_not_allowed");
    response.headers.add("Allow", match.allowed);
    return response;
  }
  body_limit = match.route->body_limit;
  if (const auto* unbuilt = std::get_if<Unbuilt>(&match.route->handler)) {
    return error_response(501, unbuilt->reason, head.id, "", "not_built");
  }
  if (std::holds_alternative<Immediate>(match.route->handler)) return std::nullopt;
  if (draining_) {
    HttpResponse response = error_response(503, "Server is shutting down", head.id, "", "shutting_down");
    response.headers.add("Retry-After", "5");
    return response;
  }
  if (body_limit > 0 && !is_json(head)) {
    return error_response(415, "The body must be JSON: Content-Type: application/json.", head.id, "", "unsupported_media_type");
  }
  if (preparation_.waiting() + waiting_.waiting() >= options_.max_preparing) {
    HttpResponse response = error_response(429, "Too many requests wait already.", head.id, "", "queue_full");
    response.headers.add("Retry-After", "1");
    return response;
  }
  return std::nullopt;
}

BodyPlan Server::plan(const HttpRequest& head) {
  BodyPlan plan;
  plan.refusal = refuse(head, plan.limit);
  if (plan.refusal) guard_.decorate(head, *plan.refusal);
  return plan;
}

void Server::handle(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  RouteMatch match = match_route(request.method, request.path);
  HttpResponse decoration;
  guard_.decorate(request, decoration);
  if (!decoration.headers.fields().empty()) exchange = std::make_shared<GuardedExchange>(exchange, std::move(decoration));
  ApiCall call{.exchange = exchange, .name = std::move(match.name)};
  if (!match.route) return;  // refused by plan() already
  if (auto refusal = guard_.check(request, match.route->scope, call.key_id)) return exchange->respond(std::move(*refusal));
  call.request = std::move(request);
  const auto later = [&](const std::function<void(std::function<void()>)>& run, auto&& answer) {
    run([call = std::make_shared<ApiCall>(std::move(call)), answer] {
      if (call->exchange->closed()) return;
      answer_errors(*call->exchange, [&] { answer(*call); });
    });
  };
  const auto document = [this](auto route) {
    return [this, route](ApiCall& call) { call.exchange->respond(route.answer(context_, call)); };
  };
  std::visit(Overloaded{
                 [&](const Immediate& route) {
                   answer_errors(*exchange, [&] { exchange->respond(route.answer(context_, call)); });
                 },
                 [&](const Prepared& route) { later(context_.prepare, document(route)); },
                 [&](const Waiting& route) { later(context_.wait, document(route)); },
                 [&](const Streamed& route) {
                   later(context_.prepare, [this, route](ApiCall& call) { route.begin(context_, call); });
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
