#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace mlxk::testing {

/// An answer as received.
struct RawAnswer {
  int status = 0;
  std::string head;  // with its empty line
  std::string body;  // decoded from chunks

  /// The value of a header; empty if absent.
  std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

/// A client that writes and reads bytes; every read gives up after ten seconds.
class RawClient {
 public:
  explicit RawClient(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  explicit RawClient(const std::string& path) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    connect(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  ~RawClient() { close(); }
  RawClient(RawClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), buffer_(std::move(other.buffer_)) {}

  /// Whether everything was sent; false once the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return true;
  }
  /// Reads some more; false at the end.
  bool more() {
    char piece[16384];
    const ssize_t count = ::recv(socket_, piece, sizeof piece, 0);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) throw std::runtime_error("no answer in ten seconds");
    if (count <= 0) return false;
    buffer_.append(piece, static_cast<size_t>(count));
    return true;
  }
  /// Reads up to and including `end`; everything received if it does not arrive.
  std::string read_until(std::string_view end) {
    size_t at;
    while ((at = buffer_.find(end)) == std::string::npos) {
      if (!more()) return std::exchange(buffer_, {});
    }
    return take(at + end.size());
  }
  std::string read(size_t count) {
    while (buffer_.size() < count && more()) {
    }
    return take(std::min(count, buffer_.size()));
  }
  /// Reads until the server closes.
  std::string read_all() {
    while (more()) {
    }
    return std::exchange(buffer_, {});
  }
  /// The next answer; status 0 if the server closed instead.
  RawAnswer answer(bool head_only = false) {
    RawAnswer answer;
    answer.head = read_until("\r\n\r\n");
    if (answer.head.size() < 12) return answer;
    answer.status = std::atoi(answer.head.c_str() + 9);
    if (head_only) return answer;
    if (answer.header("Transfer-Encoding") == "chunked") {
      for (;;) {
        const size_t size = std::strtoul(read_until("\r\n").c_str(), nullptr, 16);
        answer.body += read(size);
        if (read(2) != "\r\n" || size == 0) return answer;
      }
    }
    const std::string length = answer.header("Content-Length");
    answer.body = length.empty() ? "" : read(std::strtoul(length.c_str(), nullptr, 10));
    return answer;
  }
  RawAnswer ask(std::string_view request) {
    send(request);
    return answer();
  }
  /// Whether the server has closed, with nothing more to read. Waits for it.
  bool ended() { return read_all().empty(); }
  int socket() const { return socket_; }
  void shut_down() { ::shutdown(socket_, SHUT_WR); }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  /// Closes with a reset.
  void reset() {
    const linger none{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close();
  }

 private:
  void connect(sockaddr* address, socklen_t size) {
    const timeval patience{10, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (::connect(socket_, address, size) != 0)
      throw std::runtime_error(std::string("connect: ") + std::strerror(errno));
  }
  std::string take(size_t count) {
    std::string taken = buffer_.substr(0, count);
    buffer_.erase(0, count);
    return taken;
  }

  int socket_;
  std::string buffer_;
};

}  // namespace mlxk::testing
