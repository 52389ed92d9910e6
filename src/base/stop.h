#pragma once

#include <functional>

namespace mlxk {

/// While one lives, work on this thread that may take long asks `check` now and then; what that throws ends the work.
/// An inner scope replaces an outer one.
class StopScope {
 public:
  explicit StopScope(std::function<void()> check);
  ~StopScope();
  StopScope(const StopScope&) = delete;
  StopScope& operator=(const StopScope&) = delete;

 private:
  friend void check_stop();
  std::function<void()> check_;
  const StopScope* outer_;
};

/// Asks the innermost StopScope of this thread; nothing without one.
void check_stop();

}  // namespace mlxk
