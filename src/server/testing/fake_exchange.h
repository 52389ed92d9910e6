#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "transport/exchange.h"

namespace mlxk::testing {

/// A transport's I/O thread: runs tasks in the order of arrival, none once stopped.
class IoThread {
 public:
  IoThread() : thread_([this] { work(); }) {}
  ~IoThread() { stop(); }
  void post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    tasks_.push_back(std::move(task));
    filled_.notify_one();
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      filled_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  void work() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        filled_.wait(lock, [this] { return stopped_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<std::function<void()>> tasks_;
  bool stopped_ = false;
  std::thread thread_;
};

/// A request and its answer without a socket: records the bytes that the client would have received.
class FakeExchange : public Exchange {
 public:
  explicit FakeExchange(std::shared_ptr<IoThread> io, std::string id = "request-1")
      : io_(std::move(io)), id_(std::move(id)) {}

  const std::string& request_id() const override { return id_; }
  void respond(HttpResponse response) override {
    std::string body = std::move(response.body);
    begin(std::move(response));
    send(std::move(body));
    finish();
  }
  void begin(HttpResponse head) override {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    ++heads_;
    body_ += head.body;
    head.body.clear();
    head_ = std::move(head);
    changed_.notify_all();
  }
  void send(std::string bytes) override {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    body_ += bytes;
    ++sends_;
    changed_.notify_all();
  }
  void finish() override {
    const std::lock_guard lock(mutex_);
    done_ = true;
    gone_.clear();
    changed_.notify_all();
  }
  void upgrade(WebSocketPlan plan) override {
    HttpResponse head;
    head.status = 101;
    head.headers = std::move(plan.headers);
    begin(std::move(head));
    const std::lock_guard lock(mutex_);
    sink_ = std::move(plan.sink);
  }
  size_t unsent_bytes() const override { return 0; }
  bool closed() const override {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  void on_close(std::function<void()> gone) override {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      io_->post(std::move(gone));
    } else if (!done_) {
      gone_.push_back(std::move(gone));
    }
  }
  void post(std::function<void()> task) override { io_->post(std::move(task)); }

  /// The client leaves.
  void disconnect() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    for (auto& one : gone_) io_->post(std::move(one));
    gone_.clear();
    changed_.notify_all();
  }
  /// Waits until the answer is complete; false after ten seconds.
  bool wait() {
    return wait_for([this] { return done_; });
  }
  /// Waits until the body has `text`; false after ten seconds.
  bool wait_for_text(const std::string& text) {
    return wait_for([&] { return body_.find(text) != std::string::npos; });
  }

 private:
  template <class Function>
  auto locked(Function&& function) const {
    const std::lock_guard lock(mutex_);
    return function();
  }

 public:
  int status() const {
    return locked([this] { return heads_ ? head_.status : 0; });
  }
  HttpResponse head() const {
    return locked([this] { return head_; });
  }
  std::string body() const {
    return locked([this] { return body_; });
  }
  int heads() const {
    return locked([this] { return heads_; });
  }
  /// The sink of the WebSocket, once opened.
  std::shared_ptr<MessageSink> sink() const {
    return locked([this] { return sink_; });
  }

 private:
  template <class Condition>
  bool wait_for(Condition&& condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), condition);
  }

  const std::shared_ptr<IoThread> io_;
  const std::string id_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  HttpResponse head_;
  std::string body_;
  int heads_ = 0, sends_ = 0;
  bool done_ = false, closed_ = false;
  std::vector<std::function<void()>> gone_;
  std::shared_ptr<MessageSink> sink_;
};

}  // namespace mlxk::testing
