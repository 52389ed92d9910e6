#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace mlxk {

/// The number of tokens in a step, chosen so that a step takes about kTarget: requests to other models wait no longer
/// than that between two of their tokens.
class BatchSize {
 public:
  static constexpr int64_t kMin = 256, kMax = 16384;
  static constexpr std::chrono::milliseconds kTarget{40};

  int64_t tokens() const { return tokens_; }
  /// Records that a step of `tokens` tokens took `took`. A step that was not full says nothing about a full one.
  void learn(int64_t tokens, std::chrono::steady_clock::duration took) {
    if (took > kTarget) {
      tokens_ = std::max(kMin, std::min(tokens_, tokens) / 2);
    } else if (2 * took < kTarget && 2 * tokens > tokens_) {
      tokens_ = std::min(kMax, 2 * tokens_);
    }
  }

 private:
  int64_t tokens_ = 1024;
};

}  // namespace mlxk
