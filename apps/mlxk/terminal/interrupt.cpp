#include "terminal/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace mlxk {

namespace {
volatile std::sig_atomic_t pressed = 0;
struct sigaction previous;

void on_interrupt(int) {
  if (pressed) _exit(130);
  pressed = 1;
}
}  // namespace

InterruptGuard::InterruptGuard() {
  pressed = 0;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;  // no SA_RESTART: a read at the prompt returns
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &previous, nullptr); }

bool interrupted() { return pressed != 0; }
void clear_interrupt() { pressed = 0; }

}  // namespace mlxk
