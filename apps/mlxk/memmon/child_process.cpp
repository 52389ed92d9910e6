#include "memmon/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"

extern char** environ;  // missing in macOS's unistd.h

namespace mlxk {

namespace {
constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};
std::array<struct sigaction, kSignals.size()> previous;
int ends[2] = {-1, -1};  // read, write

void write_note(int number, siginfo_t* info, void*) {
  const bool from_process = info && (info->si_code == SI_USER || info->si_code == SI_QUEUE);
  const unsigned char note[2] = {static_cast<unsigned char>(number), from_process};
  const int saved = errno;
  [[maybe_unused]] const auto written = write(ends[1], note, sizeof note);  // atomic: both bytes or none
  errno = saved;
}
}  // namespace

MonitorSignals::MonitorSignals() {
  if (pipe(ends) != 0) throw Error(ErrorKind::io, "cannot create a pipe for signals: too many open files");
  for (const int end : ends) {
    fcntl(end, F_SETFD, FD_CLOEXEC);
    fcntl(end, F_SETFL, O_NONBLOCK);
  }
  struct sigaction action = {};
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  action.sa_sigaction = write_note;
  sigfillset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], nullptr, &previous[i]);
    // An ignored signal stays ignored, also in the command, as under nohup.
    const bool ignored = previous[i].sa_handler == SIG_IGN && kSignals[i] != SIGCHLD;
    if (!ignored) sigaction(kSignals[i], &action, nullptr);
  }
}

MonitorSignals::~MonitorSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &previous[i], nullptr);
  for (int& end : ends) {
    close(end);
    end = -1;
  }
}

SignalNote MonitorSignals::next(std::chrono::nanoseconds patience) {
  pollfd waiting{ends[0], POLLIN, 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(patience).count();
  if (poll(&waiting, 1, static_cast<int>(std::max<long>(ms, 0))) <= 0) return {};
  unsigned char note[2];
  if (read(ends[0], note, sizeof note) != sizeof note) return {};
  return {note[0], note[1] != 0};
}

ChildProcess::ChildProcess(const std::vector<std::string>& words) {
#ifdef __linux__
  prctl(PR_SET_CHILD_SUBREAPER, 1);
#endif
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int failure = posix_spawnp(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ);
  if (failure != 0) {
    throw Error(failure == ENOENT ? ErrorKind::not_found : ErrorKind::denied,
                fmt::format("cannot start '{}': {}", words[0], std::strerror(failure)));
  }
}

std::optional<int> ChildProcess::reap() {
  int status = 0;
  for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;) {
    if (ended == pid_) code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return code_;
}

void ChildProcess::send(int signal) const {
  if (!code_) kill(pid_, signal);
}

}  // namespace mlxk
