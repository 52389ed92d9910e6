#pragma once

#include <sys/types.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace mlxk {

/// A child process that runs `mlxk serve` on a free loopback port. The destructor ends it.
class OwnServer {
 public:
  /// Starts the server with `arguments` after `serve` and waits until it accepts requests. Throws cancelled once
  /// `stop_wanted` returns true, io, and internal with the end of the server's log if it does not start.
  OwnServer(const std::vector<std::string>& arguments, const std::function<bool()>& stop_wanted);
  ~OwnServer();
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;

  const std::string& url() const { return url_; }
  double listen_s() const { return listen_s_; }  // from the start until the server listened
  double ready_s() const { return ready_s_; }    // … until it accepted requests
  /// The server's peak and current memory in bytes; 0: the system does not report it.
  uint64_t peak_memory() const;
  uint64_t held_memory() const;

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void spawn(const std::vector<std::string>& arguments);
  void wait_until_ready(const std::function<bool()>& stop_wanted);
  bool has_ended();
  void end();
  [[noreturn]] void fail();

  pid_t pid_ = -1;
  int status_ = 0;
  std::unique_ptr<std::FILE, Close> out_, log_;
  std::string url_;
  double listen_s_ = 0, ready_s_ = 0;
};

}  // namespace mlxk
