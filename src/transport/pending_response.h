#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "transport/exchange.h"
#include "transport/loop.h"
#include "transport/response_head.h"

namespace mlxk {

/// The bytes of one answer between any thread and the connection, which takes them on the I/O thread.
class PendingResponse {
 public:
  /// `wake` runs on the I/O thread after something has changed here.
  PendingResponse(std::shared_ptr<Loop> loop, AnswerFormat format, size_t max_unsent, std::function<void()> wake);

  /// A handle for the handler. Once it is destroyed without a complete answer, abandoned() is true.
  static std::shared_ptr<Exchange> make_exchange(std::shared_ptr<PendingResponse> answer);

  // From any thread: see Exchange.
  const std::string& request_id() const { return format_.request_id; }
  void respond(HttpResponse response);
  void begin(HttpResponse head);
  void send(std::string bytes);
  void finish();
  void upgrade(WebSocketPlan plan);
  void abandon();
  size_t unsent_bytes() const;
  bool closed() const;
  void on_close(std::function<void()> gone);
  void post(std::function<void()> task) { loop_->post(std::move(task)); }

  // For the connection, on the I/O thread.
  struct State {
    bool begun = false;       // the head is among the bytes taken so far
    bool complete = false;    // the last byte is among them as well
    bool abandoned = false;   // nobody will complete it
    bool overflowed = false;  // the client did not read a streamed answer
    bool keep_alive = true;   // what the head says
    bool upgraded = false;    // a WebSocket: `out` has its messages
    int status = 0;
  };
  /// Moves the waiting bytes to the end of `out`, and returns the state of the answer.
  State take(std::list<std::string>& out);
  /// The WebSocket that was asked for, once upgraded. Once: afterwards the caller owns its sink.
  WebSocketPlan take_socket();
  /// `count` of the taken bytes have been written.
  void written(size_t count);
  /// All bytes written so far.
  size_t total_written() const;
  /// The client has gone: calls the function given to on_close, and accepts nothing more.
  void close();
  /// The answer was written completely: drops the function given to on_close.
  void deliver();

 private:
  enum class Stage { waiting, streaming, socket, complete };
  void push(std::string bytes);
  void wake();

  const std::shared_ptr<Loop> loop_;
  AnswerFormat format_;
  const size_t max_unsent_;
  const std::function<void()> wake_;

  mutable std::mutex mutex_;
  Stage stage_ = Stage::waiting;
  Framing framing_ = Framing::length;
  WebSocketPlan socket_;
  bool upgraded_ = false;
  int status_ = 0;
  bool closed_ = false, delivered_ = false, abandoned_ = false, overflowed_ = false, waking_ = false;
  size_t unsent_ = 0, written_ = 0;
  std::list<std::string> queue_;
  std::vector<std::function<void()>> gone_;
};

}  // namespace mlxk
