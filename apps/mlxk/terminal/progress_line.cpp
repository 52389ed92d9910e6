#include "terminal/progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "cli/model_text.h"
#include "cli/table.h"
#include "commands/pull_progress.h"
#include "terminal/interrupt.h"

namespace mlxk {

ProgressLine::ProgressLine(bool quiet) : shown_(!quiet && isatty(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() { clear(); }

void ProgressLine::clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

bool ProgressLine::due() {
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || now - last_ < std::chrono::milliseconds(100)) return false;
  last_ = now;
  return drawn_ = true;
}

void ProgressLine::show(const std::string& what, uint64_t done, uint64_t total) {
  if (!due()) return;
  fmt::print(stderr, "\r\x1b[K▕{}▏ {}/{} {:.40}", bar_text(done, total, 20), human_size(done), human_size(total),
             printable(what));
  std::fflush(stderr);
}

void ProgressLine::show_time(const std::string& what, double done, double total) {
  if (!due()) return;
  const auto seconds = [](double value) { return static_cast<uint64_t>(std::llround(value)); };
  const std::string bar = total > 0 ? fmt::format("▕{}▏ ", bar_text(seconds(done * 10), seconds(total * 10), 20)) : "";
  const std::string end = total > 0 ? "/" + duration_text(seconds(total)) : "";
  fmt::print(stderr, "\r\x1b[K{}{}{} {:.40}", bar, duration_text(seconds(done)), end, printable(what));
  std::fflush(stderr);
}

void ProgressLine::show_count(const std::string& what, int64_t done) {
  if (!due()) return;
  fmt::print(stderr, "\r\x1b[K{} {:.40}", done, printable(what));
  std::fflush(stderr);
}

}  // namespace mlxk
