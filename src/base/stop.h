#pragma once

#include <functional>

namespace mlxk {

/// While a scope exists, long work on this thread calls `check` now and then; an exception from `check` ends the work.
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

/// Calls the `check` of this thread's innermost StopScope; does nothing without one.
void check_stop();

}  // namespace mlxk
