#include "cpu/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace mlxk {
namespace {

TEST(Threads, TwoCallersAtOnceEachGetEveryPieceDoneOnce) {
  std::atomic<int> wrong{0};
  const auto call = [&] {
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> done(200);
      parallel_for(200, 3, [&](int64_t begin, int64_t end, int) {
        std::this_thread::yield();  // to the other caller
        for (int64_t i = begin; i < end; ++i) ++done[static_cast<size_t>(i)];
      });
      for (const auto& one : done) wrong += one != 1 ? 1 : 0;
    }
  };
  std::thread other(call);
  call();
  other.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace mlxk
