#pragma once

#include <cstddef>
#include <span>

namespace mlxk {

/// While it lives, a page of a file's mapping that cannot be read, because the file was shortened or its disk fails,
/// reads as zeros and is remembered; without it the process would die of SIGBUS. Any thread.
class PageGuard {
 public:
  explicit PageGuard(std::span<const std::byte> mapping);
  ~PageGuard();
  PageGuard(const PageGuard&) = delete;
  PageGuard& operator=(const PageGuard&) = delete;
  /// Whether such a page was met.
  bool tripped() const;
  void trip();

  struct Range;

 private:
  Range* range_;
};

}  // namespace mlxk
