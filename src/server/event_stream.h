#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "transport/exchange.h"

namespace mlxk {

class Ticker;

/// An answer of server-sent events that a thread writes while it works. Its head goes out with the first of them, or
/// with the first comment where nothing else comes for a while; until then the exchange can still be answered
/// otherwise.
class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  explicit EventStream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  /// From now on comments come where nothing else does.
  void keep_alive(Ticker& ticker);
  /// Whole events, "data: …\n\n".
  void send(std::string events);
  /// The last ones.
  void finish(std::string events);
  /// Breaks off: as a whole answer where nothing was sent yet, else as an event, and the end.
  void fail(HttpResponse response);

 private:
  void send_locked(std::string events);
  bool tick();

  const std::shared_ptr<Exchange> exchange_;
  std::mutex mutex_;
  bool begun_ = false, ended_ = false, quiet_ = true;
};

/// `document` as one event.
std::string event_of(std::string_view document);
/// What ends a stream, and what is sent where nothing else is to say.
constexpr std::string_view kLastEvent = "data: [DONE]\n\n", kStreamComment = ": keep-alive\n\n";
/// The beginning of an answer of events, with the first of them.
HttpResponse stream_head(std::string events);

}  // namespace mlxk
