#include "cpu/threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "base/cores.h"
#include "base/error.h"

namespace mlxk {

namespace {

// How long a worker spins for the next piece of work before it sleeps: a decode step's operations follow each other
// within microseconds, and waking a sleeper costs more than that.
constexpr int kSpins = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int configured_threads() {
  if (const char* text = std::getenv("MLXK_THREADS"); text && *text) {
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (*end != '\0' || value < 1 || value > kMaxThreads) {
      throw Error(ErrorKind::usage, fmt::format("MLXK_THREADS must be in [1, {}], got {}", kMaxThreads, text));
    }
    return static_cast<int>(value);
  }
  return usable_cores();
}

class Pool {
 public:
  explicit Pool(int threads) : ranges_(static_cast<size_t>(threads)) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }
  int size() const { return static_cast<int>(workers_.size()) + 1; }

  void run(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body) {
    if (workers_.empty() || count <= grain) {
      if (count > 0) body(0, count, 0);
      return;
    }
    const std::lock_guard one_caller(mutex_);
    body_ = &body;
    grain_ = grain;
    const int64_t pieces = (count + grain - 1) / grain;
    for (int t = 0; t < size(); ++t) {
      ranges_[static_cast<size_t>(t)].next.store(pieces * t / size() * grain, std::memory_order_relaxed);
      ranges_[static_cast<size_t>(t)].end = std::min(pieces * (t + 1) / size() * grain, count);
    }
    open_ = true;
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    take_pieces(0);
    // Nobody waits for a worker that did not get a core in time: a worker that has not entered by now finds the round
    // closed.
    open_ = false;
    for (int i = 0; inside_ != 0; ++i) i < kSpins ? pause() : std::this_thread::yield();
  }

 private:
  /// The thread's own share from front to back, then the remaining pieces of the others.
  void take_pieces(int thread) {
    for (int i = 0; i < size(); ++i) {
      Range& range = ranges_[static_cast<size_t>((thread + i) % size())];
      while (true) {
        const int64_t begin = range.next.fetch_add(grain_, std::memory_order_relaxed);
        if (begin >= range.end) break;
        (*body_)(begin, std::min(begin + grain_, range.end), thread);
      }
    }
  }

  void work(int thread) {
    uint32_t seen = 0;
    while (true) {
      for (int i = 0; i < kSpins && round_.load(std::memory_order_acquire) == seen; ++i) pause();
      round_.wait(seen, std::memory_order_acquire);
      seen = round_.load(std::memory_order_acquire);
      // A worker enters before it checks whether the round is open; the caller closes the round before it checks who is
      // inside: one of the two sees the other.
      ++inside_;
      if (open_) take_pieces(thread);
      --inside_;
    }
  }

  /// A thread's initial share: adjacent pieces, so that the processor's prefetching pays off.
  struct alignas(64) Range {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  std::mutex mutex_;  // of a round
  std::vector<std::thread> workers_;
  std::vector<Range> ranges_;
  std::atomic<uint32_t> round_{0};
  std::atomic<int> inside_{0};
  std::atomic<bool> open_{false};
  const std::function<void(int64_t, int64_t, int)>* body_ = nullptr;
  int64_t grain_ = 0;
};

Pool& pool() {
  // Never destroyed: libmlx's own threads may still compute while the process ends.
  static Pool& instance = *new Pool(configured_threads());
  return instance;
}

}  // namespace

int kernel_threads() { return pool().size(); }

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body) {
  pool().run(count, grain, body);
}

}  // namespace mlxk
