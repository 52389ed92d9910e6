#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "transport/exchange.h"

namespace mlxk {

class Ticker;

/// An answer of server-sent events, written by a thread while it works. The head is sent with the first event, or with
/// the first comment if no event comes for a while; until then the exchange can still be answered in another way.
class EventStream : public std::enable_shared_from_this<EventStream> {
 public:
  explicit EventStream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  /// Sends comments from now on while there are no events.
  void keep_alive(Ticker& ticker);
  /// Sends whole events, "data: …\n\n".
  void send(std::string events);
  /// Sends the last events and ends the stream.
  void finish(std::string events);
  /// Fails: with `response` as the whole answer if nothing was sent yet, else with an event and the end.
  void fail(HttpResponse response);

 private:
  void send_locked(std::string events);
  bool tick();

  const std::shared_ptr<Exchange> exchange_;
  std::mutex mutex_;
  bool begun_ = false, ended_ = false, quiet_ = true;
};

/// Returns `document` as one event.
std::string event_of(std::string_view document);
/// The end of a stream, and the comment of an idle one.
constexpr std::string_view kLastEvent = "data: [DONE]\n\n", kStreamComment = ": keep-alive\n\n";
/// Returns the head of an answer of events, with its first events.
HttpResponse stream_head(std::string events);

}  // namespace mlxk
