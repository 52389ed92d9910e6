#include "transport/http_server.h"

#include <netinet/tcp.h>

#include <thread>

#include "base/log.h"
#include "transport/connection.h"
#include "transport/listener.h"

namespace mlxk {
namespace {

constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // after a failure: no descriptors, no memory
constexpr size_t kRefusedAtOnce = 64;                          // connections over the limit that still get an answer

// Small answers are sent immediately, and a vanished client machine is noticed.
void tune(Socket& socket) {
  error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
#ifdef TCP_KEEPIDLE
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>(30), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>(10), ignored);
  socket.set_option(asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>(3), ignored);
#endif
}

}  // namespace

struct HttpServer::Impl {
  Impl(TransportOptions options, RequestHandler& handler)
      : state{std::move(options), handler}, listener(state.loop->io(), state.options) {
    state.tls = make_tls(state.options);
    for (auto& acceptor : listener.acceptors()) {
      asio::co_spawn(
          state.loop->io(), [this, &acceptor]() -> asio::awaitable<void> { co_await accept(acceptor); },
          asio::detached);
    }
    thread = std::thread([this] { run(); });
  }

  ~Impl() {
    state.loop->post([this] {
      stop_accepting();
      for (const auto& connection : all()) connection->abort();
    });
    thread.join();  // run() ends once nothing is pending
    state.loop->stop();
  }

  // Ends once nothing is pending. An exception from a handler's task ends that task alone.
  void run() {
    for (;;) {
      try {
        state.loop->io().run();
        return;
      } catch (const std::exception& error) {
        log::limited(log::Level::error, "transport task", error.what());
      }
    }
  }

  asio::awaitable<void> accept(Acceptor& acceptor) {
    asio::steady_timer pause(state.loop->io());
    while (acceptor.is_open()) {
      error_code ec;
      Socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
      if (!acceptor.is_open()) break;
      if (ec == asio::error::connection_aborted) continue;
      if (ec) {
        log::limited(log::Level::warn, "accept", "no connection can be accepted", {{"reason", ec.message()}});
        pauses.insert(&pause);
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        pauses.erase(&pause);
        continue;
      }
      try {
        take(std::move(socket));
      } catch (const std::exception& error) {  // out of memory: this client is lost, the next one is not
        log::limited(log::Level::error, "accept", error.what());
      }
    }
  }

  void take(Socket socket) {
    const size_t open = state.connections.size();
    if (open >= state.options.max_connections + kRefusedAtOnce) return;
    std::string remote = remote_name(socket);
    if (remote != "unix") tune(socket);
    const auto connection = std::make_shared<Connection>(state, std::move(socket), std::move(remote));
    if (open < state.options.max_connections)
      connection->start();
    else
      connection->start_refusing();
  }

  void stop_accepting() {
    listener.close();
    for (auto* pause : pauses) pause->cancel();
  }

  // Holds the connections during the calls, because one that ends leaves the set.
  std::vector<std::shared_ptr<Connection>> all() {
    std::vector<std::shared_ptr<Connection>> held;
    for (auto* connection : state.connections) {
      if (auto shared = connection->weak_from_this().lock()) held.push_back(std::move(shared));
    }
    return held;
  }

  ServerState state;
  Listener listener;
  std::set<asio::steady_timer*> pauses;  // I/O thread only
  std::thread thread;
};

HttpServer::HttpServer(TransportOptions options, RequestHandler& handler)
    : impl_(std::make_unique<Impl>(std::move(options), handler)) {}

HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const { return impl_->listener.port(); }
std::string HttpServer::address() const { return impl_->listener.address(); }

size_t HttpServer::connections() const {
  const std::lock_guard lock(impl_->state.mutex);
  return impl_->state.open;
}

size_t HttpServer::active() const {
  const std::lock_guard lock(impl_->state.mutex);
  return impl_->state.active;
}

bool HttpServer::drain(std::chrono::milliseconds patience) {
  auto& state = impl_->state;
  state.loop->draining = true;
  state.loop->post([this] {  // WebSockets end by themselves once they know
    for (const auto& connection : impl_->all()) connection->notify();
  });
  std::unique_lock lock(state.mutex);
  const bool complete = state.changed.wait_for(lock, patience, [&] { return state.active == 0; });
  bool told = false;
  state.loop->post([&] {
    impl_->stop_accepting();
    state.drained = true;
    for (const auto& connection : impl_->all()) connection->notify();
    const std::lock_guard lock(state.mutex);
    told = true;
    state.changed.notify_all();
  });
  state.changed.wait(lock, [&] { return told; });
  return complete;
}

}  // namespace mlxk
