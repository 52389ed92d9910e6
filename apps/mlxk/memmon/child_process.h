#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace mlxk {

/// A signal that came, or none (number 0).
struct SignalNote {
  int number = 0;
  bool from_process = false;  // by kill(); else by the terminal, which sends it to the command too
};

/// While one lives, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGCHLD come as notes; what was ignored
/// stays so. One at a time; restores what was before.
class MonitorSignals {
 public:
  /// Throws io when there is no descriptor left.
  MonitorSignals();
  ~MonitorSignals();
  MonitorSignals(const MonitorSignals&) = delete;
  MonitorSignals& operator=(const MonitorSignals&) = delete;
  /// The next signal; number 0 when none came in time. One thread.
  SignalNote next(std::chrono::nanoseconds patience);
};

/// A command in the terminal's foreground, with this process's streams. Its orphans become this process's children, so
/// that they are still seen (Linux).
class ChildProcess {
 public:
  /// Starts `words`, found on PATH. Throws not_found where there is no such program, denied where it cannot be run.
  explicit ChildProcess(const std::vector<std::string>& words);
  /// Collects children that ended; returns the command's exit code (128 + N: by signal N) once it has ended.
  std::optional<int> reap();
  void send(int signal) const;

 private:
  pid_t pid_ = 0;
  std::optional<int> code_;
};

}  // namespace mlxk
