#include "base/page_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <mutex>

namespace mlxk {

/// The signal handler's record of a mapping. Reused and never freed: the handler may run at any time.
struct PageGuard::Range {
  std::atomic<uintptr_t> begin{0}, end{0};  // end 0: not in use
  std::atomic<bool> tripped{false};
  Range* next = nullptr;  // constant once it is in the list
};

namespace {

std::atomic<PageGuard::Range*> first_range{nullptr};
struct sigaction action_before{};
uintptr_t page_size = 0;

/// Async-signal-safe: reads atomics and maps a page of zeros over the one that cannot be read.
void on_bus_error(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  for (auto* range = first_range.load(); range; range = range->next) {
    if (at < range->begin || at >= range->end) continue;
    range->tripped = true;
    void* page = reinterpret_cast<void*>(at / page_size * page_size);
    if (mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != page) break;
    errno = error;
    return;
  }
  // The address is not in a mapping of ours: call the handler that was installed before.
  if (action_before.sa_flags & SA_SIGINFO) return action_before.sa_sigaction(signal, info, context);
  if (action_before.sa_handler != SIG_DFL && action_before.sa_handler != SIG_IGN)
    return action_before.sa_handler(signal);
  sigaction(SIGBUS, &action_before, nullptr);  // the instruction runs again and ends the process
}

void install_handler() {
  page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, &action_before);
}

}  // namespace

PageGuard::PageGuard(std::span<const std::byte> mapping) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (!first_range) install_handler();
  range_ = first_range;
  while (range_ && range_->end != 0) range_ = range_->next;
  const bool fresh = !range_;
  if (fresh) {
    range_ = new Range;
    range_->next = first_range;
  }
  range_->tripped = false;
  range_->begin = reinterpret_cast<uintptr_t>(mapping.data());
  range_->end = range_->begin + mapping.size();
  if (fresh) first_range = range_;
}

PageGuard::~PageGuard() { range_->end = 0; }

bool PageGuard::tripped() const { return range_->tripped; }

void PageGuard::trip() { range_->tripped = true; }

}  // namespace mlxk
