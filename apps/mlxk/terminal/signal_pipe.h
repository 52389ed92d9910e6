#pragma once

#include <chrono>

namespace mlxk {

/// While one lives, SIGINT, SIGTERM and SIGHUP come as numbers to whoever waits, and SIGPIPE is ignored. One at a time;
/// restores what was before.
class SignalPipe {
 public:
  /// Throws io when there is no descriptor left.
  SignalPipe();
  ~SignalPipe();
  SignalPipe(const SignalPipe&) = delete;
  SignalPipe& operator=(const SignalPipe&) = delete;

  /// The next signal's number, or what was posted; 0 when nothing came in time. One thread.
  int next(std::chrono::milliseconds patience);
  /// Wakes whoever waits, with `note` (100 to 255: no signal's number). Any thread.
  void post(int note);
};

}  // namespace mlxk
