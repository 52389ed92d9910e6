#include "bench/own_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>  // kill
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/elapsed.h"
#include "base/error.h"
#include "cli/this_program.h"
#include "http/client.h"
#include "json/json.h"
#include "json/member.h"
#include "report/machine_facts.h"

extern char** environ;  // missing in macOS's unistd.h

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kLogTail = 2000;      // bytes of the log in an error message
constexpr double kPatienceToEnd = 30;  // seconds between SIGTERM and SIGKILL

/// The JSON document in `text`; null while it is incomplete.
Json whole_document(const std::string& text) {
  if (!text.ends_with("}\n")) return nullptr;
  try {
    return parse_json(text, "start document");
  } catch (const Error&) {
    return nullptr;
  }
}

}  // namespace

OwnServer::OwnServer(const std::vector<std::string>& arguments, const std::function<bool()>& stop_wanted) {
  spawn(arguments);
  try {
    wait_until_ready(stop_wanted);
  } catch (...) {
    end();
    throw;
  }
}

OwnServer::~OwnServer() { end(); }

void OwnServer::spawn(const std::vector<std::string>& arguments) {
  const std::string program = this_program().string();
  if (program.empty()) throw Error(ErrorKind::io, "cannot determine this program's path");
  std::vector<std::string> words = {program, "serve", "--port", "0", "--json"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  int pipe_ends[2];
  log_.reset(std::tmpfile());
  if (!log_ || pipe(pipe_ends) != 0) {
    throw Error(ErrorKind::io, fmt::format("cannot start a server: {}", std::strerror(errno)));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, fileno(log_.get()), STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
  posix_spawn_file_actions_addclose(&actions, pipe_ends[1]);
  const int error = posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  out_.reset(fdopen(pipe_ends[0], "r"));
  if (error == 0) return;
  pid_ = -1;
  throw Error(ErrorKind::io, fmt::format("cannot start a server: {}", std::strerror(error)));
}

void OwnServer::wait_until_ready(const std::function<bool()>& stop_wanted) {
  const auto start = Clock::now();
  const auto check = [&] {
    if (stop_wanted()) throw Error(ErrorKind::cancelled, "interrupted");
    if (has_ended()) fail();
  };
  std::string text;
  for (Json document; document.is_null(); document = whole_document(text)) {
    pollfd wanted{fileno(out_.get()), POLLIN, 0};
    if (poll(&wanted, 1, 50) > 0) {
      char bytes[4096];
      const ssize_t count = read(wanted.fd, bytes, sizeof bytes);
      if (count > 0) text.append(bytes, static_cast<size_t>(count));
      if (count == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the server is exiting
    }
    check();
    if (const Json ready = whole_document(text); !ready.is_null()) url_ = string_at(value_at(ready, "data"), "address");
  }
  if (url_.empty()) throw Error(ErrorKind::internal, "the server did not report its address");
  listen_s_ = seconds_since(start);
  HttpClient client;
  HttpCall call;
  call.url = url_ + "/ready";
  while (client.send(call).status != 200) {
    check();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  ready_s_ = seconds_since(start);
}

bool OwnServer::has_ended() {
  if (pid_ < 0) return true;
  if (waitpid(pid_, &status_, WNOHANG) != pid_) return false;
  pid_ = -1;
  return true;
}

void OwnServer::end() {
  if (pid_ < 0) return;
  kill(pid_, SIGTERM);
  const auto start = Clock::now();
  while (!has_ended()) {
    if (seconds_since(start) > kPatienceToEnd) kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void OwnServer::fail() {
  std::string log;
  std::rewind(log_.get());
  char bytes[4096];
  for (size_t count; (count = std::fread(bytes, 1, sizeof bytes, log_.get())) > 0;) {
    log.append(bytes, count);
    if (log.size() > kLogTail) log.erase(0, log.size() - kLogTail);
  }
  while (log.ends_with('\n')) log.pop_back();
  throw Error(ErrorKind::internal, fmt::format("the server did not start: {}", log));
}

uint64_t OwnServer::peak_memory() const { return process_memory(pid_).peak; }
uint64_t OwnServer::held_memory() const { return process_memory(pid_).held; }

}  // namespace mlxk
