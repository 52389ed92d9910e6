#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "transport/exchange.h"
#include "transport/http_server.h"

namespace mlxk::testing {

inline TransportOptions any_port() {
  TransportOptions options;
  options.port = 0;
  return options;
}

/// Whether `condition` becomes true within ten seconds.
template <class Condition>
bool eventually(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

/// Echoes each request, unless told otherwise; records the answers.
class TestHandler : public RequestHandler {
 public:
  using Handle = std::function<void(HttpRequest, std::shared_ptr<Exchange>)>;

  BodyPlan plan(const HttpRequest& head) override {
    if (on_plan) return on_plan(head);
    BodyPlan plan;
    plan.limit = limit;
    return plan;
  }
  void handle(HttpRequest request, std::shared_ptr<Exchange> exchange) override {
    if (on_handle) {
      on_handle(std::move(request), std::move(exchange));
      return;
    }
    HttpResponse response;
    response.content_type = "text/plain";
    response.body = request.method + " " + request.path + "?" + request.query + " " + request.body;
    exchange->respond(std::move(response));
  }
  HttpResponse refusal(int status, std::string_view message, const std::string& request_id) override {
    HttpResponse response;
    response.body = std::to_string(status) + " " + std::string(message) + " " + request_id;
    return response;
  }
  void answered(const HttpRequest& head, int status, size_t bytes, double) override {
    const std::lock_guard lock(mutex_);
    answers_.push_back({head.method + " " + head.path, status, bytes});
    changed_.notify_all();
  }

  struct Answered {
    std::string what;
    int status;
    size_t bytes;
  };
  /// The first `count` answers; fewer if they do not arrive within ten seconds.
  std::vector<Answered> answers(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(10), [&] { return answers_.size() >= count; });
    return answers_;
  }

  size_t limit = 1 << 20;
  Handle on_handle;
  std::function<BodyPlan(const HttpRequest&)> on_plan;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Answered> answers_;
};

/// Something that happens once, waited for up to ten seconds.
class Signal {
 public:
  void set() {
    const std::lock_guard lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

}  // namespace mlxk::testing
