#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace mlxk {

/// How many tokens are computed in a step: as many as take about kTarget, so that the requests of other models wait no
/// longer than that between two of their tokens.
class BatchSize {
 public:
  static constexpr int64_t kLeast = 256, kMost = 16384;
  static constexpr std::chrono::milliseconds kTarget{40};

  int64_t tokens() const { return tokens_; }
  /// A step of `tokens` took so long. A step that was not full says nothing of what a full one could hold.
  void learn(int64_t tokens, std::chrono::steady_clock::duration took) {
    if (took > kTarget) {
      tokens_ = std::max(kLeast, std::min(tokens_, tokens) / 2);
    } else if (2 * took < kTarget && 2 * tokens > tokens_) {
      tokens_ = std::min(kMost, 2 * tokens_);
    }
  }

 private:
  int64_t tokens_ = 1024;
};

}  // namespace mlxk
