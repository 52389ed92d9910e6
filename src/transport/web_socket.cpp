// WebSockets on a connection of the server: framing, masks, pings and the closing handshake are Beast's; limits, the
// drain and messages are the connection's.
#include "transport/web_socket.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <optional>
#include <utility>

#include "base/log.h"
#include "transport/connection.h"

namespace mlxk {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
namespace websocket = beast::websocket;
using websocket::close_code;

constexpr size_t kPiece = 64 << 10;                 // bytes of a message that are read at a time
constexpr auto kGoodbye = std::chrono::seconds(2);  // for the client to answer our close frame

/// The items of a comma-separated header, trimmed.
std::vector<std::string_view> list_of(const HttpRequest& head, std::string_view name) {
  std::vector<std::string_view> items;
  std::string_view rest = head.headers.find(name).value_or("");
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    std::string_view item = rest.substr(0, comma);
    rest.remove_prefix(comma == rest.npos ? rest.size() : comma + 1);
    const size_t first = item.find_first_not_of(" \t");
    if (first == item.npos) continue;
    items.push_back(item.substr(first, item.find_last_not_of(" \t") - first + 1));
  }
  return items;
}

bool lists(const HttpRequest& head, std::string_view name, std::string_view word) {
  const auto items = list_of(head, name);
  return std::any_of(items.begin(), items.end(), [&](std::string_view item) {
    return beast::iequals({item.data(), item.size()}, {word.data(), word.size()});
  });
}

/// Whether `value` is 16 bytes in base64, as Sec-WebSocket-Key must be.
bool is_key(std::string_view value) {
  const auto digit = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  return value.size() == 24 && value.ends_with("==") && std::all_of(value.begin(), value.end() - 2, digit);
}

std::string seconds_of(std::chrono::milliseconds time) {
  return fmt::format("{} s", std::chrono::duration<double>(time).count());
}

}  // namespace

bool asks_for_websocket(const HttpRequest& head) { return lists(head, "upgrade", "websocket"); }

std::vector<std::string_view> offered_protocols(const HttpRequest& head) {
  return list_of(head, "sec-websocket-protocol");
}

std::string websocket_problem(const HttpRequest& head) {
  if (head.method != "GET") return "a WebSocket is opened by GET, not " + head.method;
  if (!asks_for_websocket(head)) return "this is a WebSocket: connect with ws:// or wss:// (Upgrade: websocket)";
  if (!lists(head, "connection", "upgrade")) return "[Connection] must be Upgrade";
  if (head.headers.find("sec-websocket-version").value_or("") != "13") return "[Sec-WebSocket-Version] must be 13";
  if (!is_key(head.headers.find("sec-websocket-key").value_or(""))) {
    return "[Sec-WebSocket-Key] must be 16 bytes in base64";
  }
  return {};
}

/// A connection as a stream for Beast; bytes that were received before the upgrade are read first.
class Connection::Stream {
 public:
  using executor_type = asio::io_context::executor_type;
  explicit Stream(Connection& connection) : connection_(connection) {}
  executor_type get_executor() const noexcept { return connection_.server_.loop->io().get_executor(); }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    const auto shared = std::make_shared<std::decay_t<Handler>>(std::forward<Handler>(handler));
    auto feed = [&connection = connection_, buffers, shared] {
      std::string& in = connection.in_;
      const size_t count = asio::buffer_copy(buffers, asio::buffer(in));
      in.erase(0, count);
      connection.read();
      (*shared)(count > 0 ? error_code() : asio::error::make_error_code(asio::error::eof), count);
    };
    if (!connection_.in_.empty() || connection_.ended_) {
      asio::post(connection_.server_.loop->io(), [self = connection_.shared_from_this(), feed] { feed(); });
    } else {
      connection_.feed_ = feed;
      connection_.read();
    }
  }

  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    connection_.wire_.write_some(buffers, [self = connection_.shared_from_this(),
                                           then = std::forward<Handler>(handler)](error_code ec, size_t count) mutable {
      self->progress_ = Clock::now();
      then(ec, count);
    });
  }

  friend void teardown(beast::role_type, Stream&, error_code& ec) { ec = {}; }
  template <class Handler>
  friend void async_teardown(beast::role_type, Stream& stream, Handler&& handler) {
    asio::post(stream.get_executor(),
               [then = std::forward<Handler>(handler)]() mutable { std::move(then)(error_code()); });
  }
  friend void beast_close_socket(Stream&) {}  // for Beast's time-outs, which are off

 private:
  Connection& connection_;
};

/// The WebSocket of a connection. Its callbacks set flags and wake the connection's coroutine, which owns it.
class Connection::WebSocket : public std::enable_shared_from_this<Connection::WebSocket> {
  /// Wraps `then` as a completion handler that does nothing once the socket is destroyed.
  template <class Then>
  auto while_here(Then then) {
    return [weak = weak_from_this(), then = std::move(then)](auto... results) {
      if (weak.lock()) then(results...);
    };
  }

 public:
  WebSocket(Connection& connection, WebSocketPlan plan)
      : plan_(std::move(plan)), connection_(connection), ws_(connection) {
    websocket::stream_base::timeout none{};
    none.handshake_timeout = none.idle_timeout = websocket::stream_base::none();
    none.keep_alive_pings = false;
    ws_.set_option(none);
    ws_.read_message_max(plan_.max_message_bytes);
    ws_.text(true);
    ws_.auto_fragment(false);
  }
  ~WebSocket() { connection_.server_.body_room += held_; }

  void accept(const HttpRequest& head) {
    request_.method(http::verb::get);
    request_.target("/");
    for (const auto& [name, value] : head.headers.fields()) request_.insert(name, value);
    ws_.set_option(websocket::stream_base::decorator([this, id = head.id](websocket::response_type& answer) {
      answer.set("X-Request-ID", id);
      if (!plan_.protocol.empty()) answer.set(http::field::sec_websocket_protocol, plan_.protocol);
      for (const auto& [name, value] : plan_.headers.fields()) answer.insert(name, value);
    }));
    ws_.async_accept(request_, while_here([this](error_code ec) {
                       open_ = !ec;
                       ended_ = ended_ || ec;
                       if (open_) read();
                       connection_.notify();
                     }));
  }

  void write(const std::string& message) {
    writing_ = true;
    ws_.async_write(asio::buffer(message), while_here([this, size = message.size()](error_code ec, size_t) {
                      writing_ = false;
                      if (ec) {
                        ended_ = true;
                      } else {
                        connection_.out_.pop_front();
                        connection_.answer_->written(size);
                      }
                      connection_.notify();
                    }));
  }

  void close(close_code code, const std::string& reason) {
    leaving_ = Clock::now();
    ws_.async_close({code, reason}, while_here([this](error_code) {
                      ended_ = true;
                      connection_.notify();
                    }));
  }

  const WebSocketPlan plan_;
  bool open_ = false, writing_ = false;
  bool ended_ = false;                        // no more reads or writes
  std::optional<Clock::time_point> leaving_;  // when we sent our close frame
  Clock::time_point heard_ = Clock::now();    // the last message
  std::optional<close_code> refusal_;         // the close code for a message that was refused

 private:
  void read() {
    ws_.async_read_some(in_, kPiece, while_here([this](error_code ec, size_t count) { take(ec, count); }));
  }

  void take(error_code ec, size_t count) {
    if (ec) {
      ended_ = true;
      return connection_.notify();
    }
    size_t& room = connection_.server_.body_room;
    if (count > room) {  // too many bytes of messages are held already
      refusal_ = close_code::try_again_later;
      return connection_.notify();
    }
    room -= count;
    held_ += count;
    if (ws_.is_message_done()) {
      heard_ = Clock::now();
      std::string message = beast::buffers_to_string(in_.data());
      in_.clear();
      in_.shrink_to_fit();
      room += std::exchange(held_, 0);  // from here on the sink owns it
      try {
        if (!leaving_) plan_.sink->take(std::move(message));
      } catch (const std::exception& error) {
        log::limited(log::Level::error, "websocket", error.what());
        refusal_ = close_code::internal_error;
      }
      connection_.notify();
    }
    read();
  }

  Connection& connection_;
  websocket::stream<Stream> ws_;
  http::request<http::empty_body> request_;
  beast::flat_buffer in_;  // the message that is arriving
  size_t held_ = 0;        // its bytes
};

// Serves a WebSocket until one side closes it; false: this was the connection's last answer.
asio::awaitable<bool> Connection::serve_socket(const HttpRequest& head) {
  const auto socket = std::make_shared<WebSocket>(*this, answer_->take_socket());
  const WebSocketPlan& plan = socket->plan_;
  const auto begun = Clock::now();
  bool told = false, complete = false;
  in_body_ = true;
  progress_ = begun;
  socket->accept(head);
  for (;;) {
    const PendingResponse::State state = answer_->take(out_);
    const auto now = Clock::now();
    if (broken_ || state.overflowed || socket->ended_) break;
    if (server_.loop->draining && !std::exchange(told, true)) plan.sink->drain();
    if (socket->open_ && !socket->leaving_) {
      if (!socket->writing_ && !out_.empty()) {
        progress_ = now;
        socket->write(out_.front());
      }
      complete = state.complete && out_.empty();
      if (complete) {
        socket->close(told ? close_code::going_away : close_code::normal, "");
      } else if (state.abandoned && !state.complete) {
        socket->close(close_code::internal_error, "");
      } else if (socket->refusal_) {
        socket->close(*socket->refusal_, "");
      } else if (now - socket->heard_ >= plan.idle_timeout) {
        socket->close(close_code::policy_error, "no message for " + seconds_of(plan.idle_timeout));
      } else if (now - begun >= plan.total_timeout) {
        socket->close(close_code::policy_error, "open for " + seconds_of(plan.total_timeout));
      }
    }
    auto deadline = Clock::time_point::max();
    if (!socket->leaving_) deadline = std::min(socket->heard_ + plan.idle_timeout, begun + plan.total_timeout);
    if (socket->leaving_) deadline = *socket->leaving_ + kGoodbye;
    if (socket->writing_ || !socket->open_)
      deadline = std::min(deadline, progress_ + server_.options.write_stall_timeout);
    if (now >= deadline) break;
    co_await wait(deadline);
  }
  if (complete)
    answer_->deliver();
  else
    answer_->close();
  feed_ = {};
  goodbye_ = !socket->writing_;  // what cannot be written is dropped
  if (!goodbye_) wire_.reset();
  co_return false;
}

}  // namespace mlxk
