#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "hub/download.h"

namespace mlxk {

/// Shows the progress of a download on stderr: bars on a terminal, lines in a log, nothing if quiet.
class PullProgress {
 public:
  enum class Style { bars, lines, quiet };
  explicit PullProgress(Style style) : style_(style) {}
  ~PullProgress() { clear(); }
  PullProgress(const PullProgress&) = delete;
  PullProgress& operator=(const PullProgress&) = delete;

  void show(const DownloadProgress& progress);

 private:
  using Clock = std::chrono::steady_clock;

  void clear();
  void print_lines(const DownloadProgress& progress);
  double rate(const DownloadProgress& progress);

  Style style_;
  size_t drawn_ = 0;                                         // lines of bars on the screen
  std::deque<std::pair<Clock::time_point, uint64_t>> seen_;  // bytes received when
  Clock::time_point last_line_ = Clock::now();
};

/// Bars if stderr is a terminal that can draw them, else lines; HF_HUB_DISABLE_PROGRESS_BARS selects lines.
PullProgress::Style progress_style(bool json);

/// "45s", "3m12s", "2h05m".
std::string duration_text(uint64_t seconds);

/// "███▌      " of `width` columns.
std::string bar_text(uint64_t done, uint64_t size, size_t width);

/// The lines of bars for a terminal with `columns`: files in progress, then the total; `rate` in bytes a second.
std::string bars_text(const DownloadProgress& progress, double rate, size_t columns);

}  // namespace mlxk
