#include "base/stop.h"

#include <utility>

namespace mlxk {

namespace {
thread_local const StopScope* innermost = nullptr;
}

StopScope::StopScope(std::function<void()> check) : check_(std::move(check)), outer_(innermost) { innermost = this; }

StopScope::~StopScope() { innermost = outer_; }

void check_stop() {
  if (innermost) innermost->check_();
}

}  // namespace mlxk
