#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mlxk {

/// One line of progress on stderr that is overwritten at most ten times a second; nothing if stderr is not a terminal
/// or `quiet`. The destructor removes the line.
class ProgressLine {
 public:
  explicit ProgressLine(bool quiet);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  /// Bytes done of `total`, and their name. Throws cancelled once Ctrl-C was pressed (under an InterruptGuard).
  void show(const std::string& what, uint64_t done, uint64_t total);
  /// The same for seconds of a recording; a `total` of 0 is unknown.
  void show_time(const std::string& what, double done, double total);
  /// The same for a number of items whose total is unknown.
  void show_count(const std::string& what, int64_t done);
  /// Removes the line until it is shown again.
  void clear();

 private:
  bool due();

  bool shown_, drawn_ = false;
  std::chrono::steady_clock::time_point last_;
};

}  // namespace mlxk
