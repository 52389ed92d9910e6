#include "commands/convert_progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/error.h"
#include "cli/table.h"
#include "terminal/interrupt.h"

namespace mlxk {

ConvertProgress::ConvertProgress() : terminal_(isatty(STDERR_FILENO) != 0) {}

void ConvertProgress::operator()(const std::string& what, int64_t done, int64_t total) {
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  if (!terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  if (done < total && now - shown_ < std::chrono::milliseconds(100)) return;
  shown_ = now;
  fmt::print(stderr, "\r{:3}% {:.60}\x1b[K{}", total > 0 ? done * 100 / total : 100, printable(what),
             done >= total ? "\r\x1b[K" : "");
  std::fflush(stderr);
}

}  // namespace mlxk
