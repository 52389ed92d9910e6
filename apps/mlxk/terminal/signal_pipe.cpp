#include "terminal/signal_pipe.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/error.h"

namespace mlxk {

namespace {
constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGPIPE};
std::array<struct sigaction, kSignals.size()> previous_actions;
int ends[2] = {-1, -1};  // read, write

void write_note(int note) {
  const auto byte = static_cast<unsigned char>(note);
  const int saved = errno;
  [[maybe_unused]] const auto written = write(ends[1], &byte, 1);  // full: thousands of signals were not read
  errno = saved;
}
}  // namespace

SignalPipe::SignalPipe() {
  if (pipe(ends) != 0) throw Error(ErrorKind::io, "cannot make a pipe for signals: too many open files");
  for (const int end : ends) {
    fcntl(end, F_SETFD, FD_CLOEXEC);
    fcntl(end, F_SETFL, O_NONBLOCK);
  }
  struct sigaction action = {};
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    action.sa_handler = kSignals[i] == SIGPIPE ? SIG_IGN : write_note;
    sigaction(kSignals[i], &action, &previous_actions[i]);
  }
}

SignalPipe::~SignalPipe() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous_actions[i], nullptr);
  for (int& end : ends) {
    close(end);
    end = -1;
  }
}

int SignalPipe::next(std::chrono::milliseconds patience) {
  pollfd waiting{ends[0], POLLIN, 0};
  if (poll(&waiting, 1, static_cast<int>(patience.count())) <= 0) return 0;
  unsigned char byte = 0;
  return read(ends[0], &byte, 1) == 1 ? byte : 0;
}

void SignalPipe::post(int note) { write_note(note); }

}  // namespace mlxk
