#include "server/event_stream.h"

#include <utility>

#include "server/task_pool.h"

namespace mlxk {

std::string event_of(std::string_view document) {
  std::string event = "data: ";
  event += document;
  return event += "\n\n";
}

HttpResponse stream_head(std::string events) {
  HttpResponse head;
  head.content_type = "text/event-stream; charset=utf-8";
  head.headers.add("Cache-Control", "no-cache");
  head.headers.add("X-Accel-Buffering", "no");  // proxies pass each event on at once
  head.body = std::move(events);
  return head;
}

void EventStream::keep_alive(Ticker& ticker) {
  ticker.add([weak = weak_from_this()] {
    const auto stream = weak.lock();
    return stream && stream->tick();
  });
}

void EventStream::send(std::string events) {
  const std::lock_guard lock(mutex_);
  quiet_ = false;
  send_locked(std::move(events));
}

void EventStream::finish(std::string events) {
  const std::lock_guard lock(mutex_);
  send_locked(std::move(events));
  ended_ = true;
  exchange_->finish();
}

void EventStream::fail(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  if (!begun_) return exchange_->respond(std::move(response));
  exchange_->send(event_of(response.body).append(kLastEvent));
  exchange_->finish();
}

void EventStream::send_locked(std::string events) {
  if (ended_ || events.empty()) return;
  if (std::exchange(begun_, true)) return exchange_->send(std::move(events));
  exchange_->begin(stream_head(std::move(events)));
}

bool EventStream::tick() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(quiet_, true)) send_locked(std::string(kStreamComment));
  return !ended_ && !exchange_->closed();
}

}  // namespace mlxk
