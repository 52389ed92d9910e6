#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace mlxk {

/// How far a conversion is: a line that is written over, on a terminal only. Throws cancelled after Ctrl-C under an
/// InterruptGuard, which ends the conversion, which removes what it wrote.
class ConvertProgress {
 public:
  ConvertProgress();
  void operator()(const std::string& what, int64_t done, int64_t total);

 private:
  bool terminal_;
  std::chrono::steady_clock::time_point shown_;
};

}  // namespace mlxk
