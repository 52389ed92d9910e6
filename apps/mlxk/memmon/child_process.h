#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace mlxk {

/// A received signal, or none (number 0).
struct SignalNote {
  int number = 0;
  bool from_process = false;  // sent by kill(); else by the terminal, which also signals the command
};

/// During its lifetime SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 and SIGCHLD are delivered as notes; ignored
/// signals stay ignored. One at a time; the destructor restores the previous handlers.
class MonitorSignals {
 public:
  /// Throws io if there is no free descriptor.
  MonitorSignals();
  ~MonitorSignals();
  MonitorSignals(const MonitorSignals&) = delete;
  MonitorSignals& operator=(const MonitorSignals&) = delete;
  /// The next signal; number 0 if none arrived in time. One thread.
  SignalNote next(std::chrono::nanoseconds patience);
};

/// A command in the terminal's foreground, with this process's streams. On Linux its orphans become this process's
/// children, so that they are still sampled.
class ChildProcess {
 public:
  /// Starts `words`; the program is searched on PATH. Throws not_found if it does not exist, denied if it cannot be
  /// run.
  explicit ChildProcess(const std::vector<std::string>& words);
  /// Reaps children; returns the command's exit code (128 + N if signal N killed it) once it has ended.
  std::optional<int> reap();
  void send(int signal) const;

 private:
  pid_t pid_ = 0;
  std::optional<int> code_;
};

}  // namespace mlxk
