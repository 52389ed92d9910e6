#pragma once

#include <mlx/array.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "worker/sampling.h"

namespace mlxk {

/// Adds the bias to `logits` in memory and applies the penalties of `sampling` for the tokens of `history`, oldest
/// first. Any thread; every id must be within the logits.
void penalise(const Sampling& sampling, std::span<const int32_t> history, std::span<float> logits);

/// Logit bias, the three penalties and DRY, with the recent tokens that they need. Those stay on the device, so that a
/// token can be penalised before it is evaluated. Worker thread only.
class Penalties {
 public:
  /// Keeps the part of `prompt` that the windows need; ids must be within the logits passed to apply().
  Penalties(const Sampling& sampling, std::span<const int32_t> prompt);
  /// Logits [1, vocab] float32 with bias, then repetition, presence and frequency penalty and DRY applied, lazily.
  mlx::core::array apply(mlx::core::array logits) const;
  /// Whether apply() returns the logits unchanged.
  bool none() const { return !active_ && !bias_ids_; }
  /// The tokens that penalise() uses: int32 [1, n], n at least 1; absent if there are none.
  const std::optional<mlx::core::array>& history() const { return history_; }
  /// Appends a token, int32 [1, 1], evaluated or not.
  void append(const mlx::core::array& token);

 private:
  mlx::core::array apply_dry(const mlx::core::array& logits) const;
  mlx::core::array window(int size) const;  // int32 [1, n]: the last `size` tokens, all of them if `size` is 0

  float repetition_, presence_, frequency_;
  int repetition_size_, presence_size_, frequency_size_;
  std::shared_ptr<const Sampling> dry_;                     // null: off
  std::optional<mlx::core::array> bias_ids_, bias_values_;  // [1, n]
  bool active_ = false;
  bool unbounded_ = false;  // a window of size 0 holds everything
  int longest_ = 0;
  std::optional<mlx::core::array> history_;  // int32 [1, n], n ≥ 1; absent while there is no token
};

}  // namespace mlxk
