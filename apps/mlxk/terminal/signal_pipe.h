#pragma once

#include <chrono>

namespace mlxk {

/// During its lifetime SIGINT, SIGTERM and SIGHUP are delivered as numbers to the waiting thread, and SIGPIPE is
/// ignored. One at a time; the destructor restores the previous handlers.
class SignalPipe {
 public:
  /// Throws io if there is no free descriptor.
  SignalPipe();
  ~SignalPipe();
  SignalPipe(const SignalPipe&) = delete;
  SignalPipe& operator=(const SignalPipe&) = delete;

  /// The next signal's number, or a posted note; 0 if nothing arrived in time. One thread.
  int next(std::chrono::milliseconds patience);
  /// Wakes the waiting thread, with `note` (100 to 255: not a signal's number). Any thread.
  void post(int note);
};

}  // namespace mlxk
