#pragma once

namespace mlxk {

/// During its lifetime the first Ctrl-C only sets a flag, so that an answer can be stopped; the second ends the process
/// with 130. One at a time; the destructor restores the previous handler.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
};

/// Whether Ctrl-C was pressed since the flag was last cleared.
bool interrupted();
void clear_interrupt();

}  // namespace mlxk
