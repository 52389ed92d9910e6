#pragma once

#include <cstddef>
#include <span>

namespace mlxk {

/// Guards the mapping of a file while it exists: a page that cannot be read, because the file was shortened or its disk
/// fails, reads as zeros and is recorded. Without a guard the process would die of SIGBUS. Any thread.
class PageGuard {
 public:
  explicit PageGuard(std::span<const std::byte> mapping);
  ~PageGuard();
  PageGuard(const PageGuard&) = delete;
  PageGuard& operator=(const PageGuard&) = delete;
  /// Whether a page could not be read.
  bool tripped() const;
  void trip();

  struct Range;

 private:
  Range* range_;
};

}  // namespace mlxk
