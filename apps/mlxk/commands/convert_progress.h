#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mlxk {

/// Shows the progress of a conversion on one line that is overwritten, on a terminal only. Throws cancelled after
/// Ctrl-C under an InterruptGuard; this ends the conversion, which then removes its output.
class ConvertProgress {
 public:
  ConvertProgress();
  void operator()(const std::string& what, int64_t done, int64_t total);

 private:
  bool terminal_;
  std::chrono::steady_clock::time_point shown_;
};

}  // namespace mlxk
