#include "transport/connection.h"

#include <algorithm>
#include <exception>
#include <utility>
#include <vector>

#include "base/elapsed.h"
#include "base/log.h"
#include "transport/request_id.h"

namespace mlxk {
namespace {

using namespace std::chrono_literals;

constexpr size_t kReadAhead = 64 << 10;  // of unused bytes
constexpr size_t kSmallRead = 2 << 10;   // memory of an idle connection
constexpr size_t kLargeRead = 32 << 10;
constexpr size_t kSkippedBody = 64 << 10;  // of a refused request; with more the connection is closed
constexpr size_t kChunkOverhead = 16;      // bytes on the wire for each of a chunked body
constexpr size_t kBuffersAtOnce = 16;
constexpr auto kLinger = 2s;  // for a client to read our last answer, since it last sent something
constexpr auto kRefusalLinger = 500ms;
constexpr auto kLingerAtMost = 30s;
constexpr auto kProbe = 200ms;    // how often a client that we do not read from is checked
constexpr int kClientGone = 499;  // in logs only: no answer had begun

}  // namespace

void ServerState::count_open(int change) {
  const std::lock_guard lock(mutex);
  open += change;
}

void ServerState::count_active(int change) {
  const std::lock_guard lock(mutex);
  active += change;
  changed.notify_all();
}

Connection::Connection(ServerState& server, Socket socket, std::string remote)
    : server_(server),
      wire_(std::move(socket), server.tls.get()),
      remote_(std::move(remote)),
      timer_(server.loop->io()),
      read_ahead_(std::max(kReadAhead, server.options.max_header_bytes + 1)) {
  server_.connections.insert(this);
  server_.count_open(1);
}

Connection::~Connection() {
  server_.connections.erase(this);
  server_.count_open(-1);
}

void Connection::start() {
  asio::co_spawn(
      server_.loop->io(), [self = shared_from_this()]() -> asio::awaitable<void> { co_await self->run(); },
      asio::detached);
}

void Connection::start_refusing() {
  asio::co_spawn(
      server_.loop->io(), [self = shared_from_this()]() -> asio::awaitable<void> { co_await self->run_refusal(); },
      asio::detached);
}

void Connection::abort() {
  ended_ = broken_ = true;
  wire_.close();
  notify();
}

asio::awaitable<void> Connection::run() {
  try {
    bool good = true;
    if (wire_.has_tls()) good = co_await handshake();
    if (good) read();
    while (good) good = co_await serve_one();
    if (goodbye_) co_await linger(kLinger);
  } catch (const std::exception& error) {  // out of memory
    log::limited(log::Level::error, "connection", error.what(), {{"client", remote_}});
    if (answer_) answer_->close();
  }
  close();
}

asio::awaitable<void> Connection::run_refusal() {
  if (!wire_.has_tls()) {
    RequestHead head;
    head.request.id = make_request_id();
    head.request.remote = remote_;
    make_answer(head, false);
    answer_->respond(refusal_response({503, "too many connections"}, head.request.id));
    const bool delivered = co_await write_answer(head.request);
    if (delivered) co_await linger(kRefusalLinger);
  }
  close();
}

asio::awaitable<bool> Connection::handshake() {
  bool done = false, good = false;
  wire_.handshake([this, self = shared_from_this(), &done, &good](error_code ec) {
    if (broken_) return;  // the coroutine did not wait for this
    done = true;
    good = !ec;
    notify();
  });
  const auto deadline = Clock::now() + server_.options.header_timeout;
  while (!done && !broken_ && Clock::now() < deadline) co_await wait(deadline);
  if (!done) broken_ = true;
  co_return good;
}

// One request and its answer; false ends the connection.
asio::awaitable<bool> Connection::serve_one() {
  Refusal refusal;
  const size_t head_size = co_await read_head(refusal);
  if (head_size == 0 && !refusal) co_return false;

  const auto began = Clock::now();
  auto parser = std::make_unique<RequestParser>();
  RequestHead head;
  if (refusal) {
    head.request.id = make_request_id();
  } else {
    head = parser->read_head(std::string_view(in_).substr(0, head_size));
    in_.erase(0, head_size);
    refusal = head.refusal;
  }
  head.request.remote = remote_;

  // Requests that arrive while the server drains are refused, and nobody waits for them.
  struct Active {
    ServerState& server;
    const bool counted;
    explicit Active(ServerState& state) : server(state), counted(!state.loop->draining) {
      if (counted) server.count_active(1);
    }
    ~Active() {
      if (counted) server.count_active(-1);
    }
  } const active(server_);

  BodyPlan plan;
  std::string body;
  if (!refusal) {
    plan = this->plan(head.request);
    BodyTarget target;
    bool wanted = head.has_body;  // its bytes are read
    if (plan.refusal) {
      target.limit = kSkippedBody;
      wanted = wanted && !head.expects_continue && head.content_length && *head.content_length <= kSkippedBody;
    } else {
      target.limit = plan.limit;
      target.sink = plan.sink.get();
      target.collected = plan.sink ? nullptr : &body;
      target.room = &server_.body_room;
      if (head.content_length && *head.content_length > plan.limit) {
        refusal = {413, "[body] may have " + std::to_string(plan.limit) + " bytes, got " +
                            std::to_string(*head.content_length)};
        wanted = false;
      }
    }
    if (wanted) {
      if (head.expects_continue && in_.empty()) {
        out_.push_back("HTTP/1.1 100 Continue\r\n\r\n");
        write();
      }
      parser->set_target(&target);
      const bool there = co_await read_body(*parser, target, refusal);
      server_.body_room += body.size();  // from here on the handler owns it
      if (!there) co_return false;
    } else if (head.has_body) {
      head.keep_alive = false;
    }
  }
  parser.reset();

  make_answer(head, head.keep_alive && !refusal);
  if (refusal) {
    answer_->respond(refusal_response(refusal, head.request.id));
  } else if (plan.refusal) {
    answer_->respond(std::move(*plan.refusal));
    plan.refusal.reset();
  } else {
    handle(head.request, std::move(body), std::move(plan.sink));
  }
  plan.sink.reset();
  const auto answer = answer_;
  const bool delivered = co_await write_answer(head.request);
  const auto state = answer->take(out_);
  answer_.reset();
  server_.handler.answered(head.request, state.begun ? state.status : kClientGone, answer->total_written(),
                           seconds_since(began));
  goodbye_ = delivered && !state.keep_alive;
  co_return delivered&& state.keep_alive;
}

// Waits for a whole head and returns its size; 0: there is none, possibly with a refusal.
asio::awaitable<size_t> Connection::read_head(Refusal& refusal) {
  const auto& options = server_.options;
  if (in_.empty()) std::string().swap(in_);
  auto deadline = Clock::now() + options.idle_timeout;
  bool begun = false;
  size_t seen = 0, blank = 0;
  for (;;) {
    while (in_.compare(0, 2, "\r\n") == 0 && blank < 4) {  // some clients end a body this way
      in_.erase(0, 2);
      ++blank;
    }
    if (!in_.empty() && in_ != "\r") {
      const HeadEnd end = find_head_end(std::string_view(in_).substr(0, options.max_header_bytes), seen);
      if (end.size > 0) co_return end.size;
      if (!end.problem.empty()) {
        refusal = {400, end.problem};
        co_return 0;
      }
      seen = in_.size();
      if (in_.size() >= options.max_header_bytes) {
        const bool line = in_.find('\n') != std::string::npos;
        refusal = {line ? 431 : 414, (line ? "[head] must be shorter than " : "[request line] must be shorter than ") +
                                         std::to_string(options.max_header_bytes) + " bytes"};
        co_return 0;
      }
    }
    if (!begun && !in_.empty()) {
      begun = true;
      deadline = Clock::now() + options.header_timeout;
    }
    if (ended_ || broken_ || (in_.empty() && server_.drained)) co_return 0;
    if (Clock::now() >= deadline) {
      if (begun) refusal = {408, "[head] did not arrive in time"};
      co_return 0;
    }
    read();
    co_await wait(deadline);
  }
}

// Reads the body into its target; false: the client has gone.
asio::awaitable<bool> Connection::read_body(RequestParser& parser, BodyTarget& target, Refusal& refusal) {
  const auto& options = server_.options;
  const auto end = Clock::now() + options.body_timeout;
  auto stalled = Clock::now() + options.body_stall_timeout;
  size_t used_in_all = 0, received = received_;
  in_body_ = true;
  for (;;) {
    const size_t used = parser.read_body(in_);
    in_.erase(0, used);
    used_in_all += used;
    refusal = parser.refusal();
    if (!refusal && used_in_all > kChunkOverhead * target.size + kReadAhead) {
      refusal = {400, "[body] chunks are too small"};
    }
    if (!refusal && !parser.done() && in_.size() >= read_ahead_) refusal = {400, "[body] has too long a chunk header"};
    if (refusal || parser.done()) break;
    if (ended_ || broken_) co_return false;
    if (received != received_) {
      received = received_;
      stalled = Clock::now() + options.body_stall_timeout;
    }
    const auto deadline = std::min(end, stalled);
    if (Clock::now() >= deadline) {
      refusal = {408, "[body] did not arrive in time"};
      break;
    }
    read();
    co_await wait(deadline);
  }
  in_body_ = false;
  co_return true;
}

// Writes the answer as it arrives; false: the client has gone, or was closed.
asio::awaitable<bool> Connection::write_answer(const HttpRequest& head) {
  progress_ = Clock::now();
  for (;;) {
    const PendingResponse::State state = answer_->take(out_);
    if (state.upgraded) co_return co_await serve_socket(head);
    if (broken_ || state.overflowed || (ended_ && !state.complete)) break;
    if (state.abandoned && !state.complete) {
      if (state.begun) break;  // truncated, so that it does not look complete
      answer_->respond(refusal_response({500, "the request was dropped without an answer"}, head.id));
      continue;
    }
    if (!writing_ && !out_.empty()) {
      progress_ = Clock::now();
      write();
    }
    if (state.complete && out_.empty() && !writing_) {
      answer_->deliver();
      co_return true;
    }
    const auto deadline = writing_ ? progress_ + server_.options.write_stall_timeout : Clock::time_point::max();
    if (Clock::now() >= deadline) break;
    read();
    if (reading_ || ended_) {
      co_await wait(deadline);
    } else {  // the client has sent far ahead, so its end is not seen here
      ended_ = ended_ || wire_.peer_gone();
      co_await wait(std::min(deadline, Clock::now() + kProbe));
    }
  }
  answer_->close();
  wire_.reset();
  broken_ = true;
  co_return false;
}

// Closes our side, and reads on for a while: closing a socket with unread bytes would discard our answer before the
// client reads it.
asio::awaitable<void> Connection::linger(std::chrono::milliseconds patience) {
  discarding_ = true;
  in_.clear();
  wire_.say_goodbye([self = shared_from_this()](error_code) {});
  const auto end = Clock::now() + kLingerAtMost;
  for (size_t received = received_ + 1; !ended_ && !broken_ && received != received_ && Clock::now() < end;) {
    received = received_;
    read();
    co_await wait(std::min(end, Clock::now() + patience));
  }
}

asio::awaitable<void> Connection::wait(Clock::time_point deadline) {
  timer_.expires_at(deadline);
  error_code ignored;
  co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

void Connection::make_answer(const RequestHead& head, bool keep_alive) {
  AnswerFormat format{head.request.id, head.request.method == "HEAD", head.http10, keep_alive};
  answer_ = std::make_shared<PendingResponse>(server_.loop, std::move(format), server_.options.max_unsent_bytes,
                                              [weak = weak_from_this()] {
                                                if (const auto self = weak.lock()) self->notify();
                                              });
}

BodyPlan Connection::plan(const HttpRequest& head) {
  try {
    return server_.handler.plan(head);
  } catch (const std::exception& error) {
    BodyPlan plan;
    plan.refusal = refusal_response({500, error.what()}, head.id);
    return plan;
  }
}

void Connection::handle(const HttpRequest& head, std::string body, std::shared_ptr<BodySink> sink) {
  HttpRequest request = head;
  request.body = std::move(body);
  request.sink = std::move(sink);
  try {
    server_.handler.handle(std::move(request), PendingResponse::make_exchange(answer_));
  } catch (const std::exception& error) {
    answer_->respond(refusal_response({500, error.what()}, head.id));
  }
}

HttpResponse Connection::refusal_response(const Refusal& refusal, const std::string& id) {
  HttpResponse response = server_.handler.refusal(refusal.status, refusal.message, id);
  response.status = refusal.status;
  return response;
}

// Keeps one read pending while there is room.
void Connection::read() {
  if (reading_ || ended_ || in_.size() >= read_ahead_) return;
  reading_ = true;
  const size_t size = in_body_ || discarding_ ? kLargeRead : kSmallRead;
  if (piece_.size() != size) {
    piece_ = std::string(size, '\0');
  }
  wire_.read_some(asio::buffer(piece_), [this, self = shared_from_this()](error_code ec, size_t count) {
    reading_ = false;
    received_ += count;
    if (!discarding_) in_.append(piece_, 0, count);
    if (ec) ended_ = true;
    if (ec && ec != asio::error::eof && ec != asio::ssl::error::stream_truncated) broken_ = true;
    if (feed_ && (!in_.empty() || ended_)) std::exchange(feed_, {})();
    if (!discarding_ || ended_) notify();
    read();
  });
}

// Writes all of out_, which must not be empty.
void Connection::write() {
  writing_ = true;
  std::vector<asio::const_buffer> buffers;
  for (const auto& bytes : out_) {
    if (buffers.size() == kBuffersAtOnce) break;
    buffers.push_back(asio::buffer(bytes));
  }
  buffers[0] += out_offset_;
  wire_.write_some(buffers, [this, self = shared_from_this()](error_code ec, size_t count) {
    writing_ = false;
    if (ec) {
      broken_ = true;
      notify();
      return;
    }
    progress_ = Clock::now();
    if (answer_) answer_->written(count);
    for (count += out_offset_; !out_.empty() && count >= out_.front().size(); out_.pop_front()) {
      count -= out_.front().size();
    }
    out_offset_ = count;
    if (out_.empty())
      notify();
    else
      write();
  });
}

void Connection::close() {
  feed_ = {};
  ended_ = broken_ = true;
  wire_.close();
}

}  // namespace mlxk
