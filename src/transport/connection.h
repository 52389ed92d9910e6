#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "transport/http_server.h"
#include "transport/pending_response.h"
#include "transport/request_parser.h"
#include "transport/wire.h"

namespace mlxk {

class Connection;

/// The state that the connections of one server share.
struct ServerState {
  const TransportOptions options;
  RequestHandler& handler;
  const std::shared_ptr<Loop> loop = std::make_shared<Loop>();
  std::unique_ptr<asio::ssl::context> tls = nullptr;
  std::set<Connection*> connections = {};     // I/O thread only
  size_t body_room = options.max_body_bytes;  // for bodies that are arriving; I/O thread only
  bool drained = false;                       // idle connections are closed; I/O thread only
  std::mutex mutex = {};
  std::condition_variable changed = {};
  size_t open = 0, active = 0;  // under the mutex

  void count_open(int change);
  void count_active(int change);
};

/// One client: reads requests one after the other, passes them to the handler, writes the answers. One coroutine runs
/// it; at most one read and one write are pending at a time, so that a client's disconnect is noticed at any time, and
/// data sent ahead is kept. I/O thread only.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerState& server, Socket socket, std::string remote);
  ~Connection();

  /// Serves until the client or the server ends the connection; keeps itself alive.
  void start();
  /// Answers 503 and closes, without reading.
  void start_refusing();
  /// Wakes the coroutine to check its state.
  void notify() { timer_.cancel(); }
  /// Closes immediately, whatever is pending.
  void abort();

 private:
  class Stream;
  class WebSocket;

  asio::awaitable<void> run();
  asio::awaitable<void> run_refusal();
  asio::awaitable<bool> handshake();
  asio::awaitable<bool> serve_one();
  asio::awaitable<size_t> read_head(Refusal& refusal);
  asio::awaitable<bool> read_body(RequestParser& parser, BodyTarget& target, Refusal& refusal);
  asio::awaitable<bool> write_answer(const HttpRequest& head);
  asio::awaitable<bool> serve_socket(const HttpRequest& head);
  asio::awaitable<void> linger(std::chrono::milliseconds patience);
  asio::awaitable<void> wait(Clock::time_point deadline);

  void make_answer(const RequestHead& head, bool keep_alive);
  BodyPlan plan(const HttpRequest& head);
  void handle(const HttpRequest& head, std::string body, std::shared_ptr<BodySink> sink);
  HttpResponse refusal_response(const Refusal& refusal, const std::string& id);
  void read();
  void write();
  void close();

  ServerState& server_;
  Wire wire_;
  const std::string remote_;
  asio::steady_timer timer_;  // the coroutine's only timer: a deadline, cancelled by notify()
  const size_t read_ahead_;

  std::string in_;     // arrived and unused
  std::string piece_;  // data is read into this first
  size_t received_ = 0;
  bool reading_ = false;        // a read is pending
  bool in_body_ = false;        // larger reads
  bool discarding_ = false;     // arriving data is discarded
  bool ended_ = false;          // nothing more will arrive
  bool broken_ = false;         // nothing can be sent
  bool goodbye_ = false;        // the last answer is written
  std::function<void()> feed_;  // a WebSocket's read, which waits for bytes in `in_` or their end

  std::list<std::string> out_;  // being written
  size_t out_offset_ = 0;       // of its first byte
  bool writing_ = false;
  Clock::time_point progress_;
  std::shared_ptr<PendingResponse> answer_;
};

}  // namespace mlxk
