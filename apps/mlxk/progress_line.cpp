#include "progress_line.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "interrupt.h"
#include "model_text.h"
#include "pull_progress.h"
#include "table.h"

namespace mlxk {

ProgressLine::ProgressLine(bool quiet) : shown_(!quiet && isatty(STDERR_FILENO)) {}

ProgressLine::~ProgressLine() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
}

void ProgressLine::show(const std::string& what, uint64_t done, uint64_t total) {
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  const auto now = std::chrono::steady_clock::now();
  if (!shown_ || now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  fmt::print(stderr, "\r\x1b[K▕{}▏ {}/{} {:.40}", bar_text(done, total, 20), human_size(done), human_size(total), printable(what));
  std::fflush(stderr);
}

}  // namespace mlxk
