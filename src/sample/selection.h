#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "worker/sampling.h"

namespace mlxk {

/// Chooses a token from a row of logits in memory, in a few passes and without a sort. It keeps the same tokens as the
/// operations of filters.h. Its memory is reused from row to row; one thread at a time.
class Selection {
 public:
  /// Takes a row of at least one number, which must stay valid during the other calls; keeps all of it.
  void read(std::span<const float> row);
  /// The row's largest value; NaN if one is a NaN.
  float largest() const { return largest_; }
  /// The index of the first of the largest; 0 if there is a NaN.
  int32_t first_largest() const;
  /// log(sum of exp); finite unless the row has a NaN or +inf, or nothing but -inf.
  float total();
  /// The ids of the `count` (at least 1) likeliest, all if there are no more; of ties those with the highest ids.
  std::vector<int32_t> likeliest(int count);

  /// Applies the filters in mlx-lm's order, XTC if `xtc`. Call it once, after a total() that was finite.
  void filter(const Sampling& sampling, bool xtc);
  /// The ids that are kept, ascending; their logits may be -inf.
  std::vector<int32_t> kept_ids() const;
  /// One of the kept ids, by its tempered probability and `uniform` in [0, 1). Only if total() is finite.
  int32_t draw(float temperature, double uniform);

 private:
  enum class Ties { low_ids, high_ids };  // which of equal values are kept

  void keep_top_p(float top_p);
  void keep_min_p(float min_p, int min_tokens);
  void exclude_top_choices(float threshold, const std::vector<int32_t>& special);
  void keep_largest(int count, Ties ties);
  static void drop_ties(std::vector<int32_t>& ids, std::vector<float>& logits, float least, size_t count, Ties ties);

  std::span<const float> kept() const { return all_ ? row_ : std::span<const float>(logits_); }
  void gather(float least, std::vector<int32_t>& ids, std::vector<float>& logits) const;
  void keep_at_least(float least);
  float cutoff(std::span<const float> x, const float* weights, float largest, double need);
  double weigh(std::span<const float> x, float largest, float scale);

  std::span<const float> row_;
  float largest_ = 0;
  std::optional<float> total_;
  double weight_ = 0;                           // the row's weights, relative to its largest
  std::vector<float> block_largest_;            // the weight of each kBlock of the row
  std::vector<float> weights_, block_weights_;  // the arguments of the last weigh()
  bool all_ = true;                             // the row is kept whole; else:
  std::vector<int32_t> ids_;                    // ascending
  std::vector<float> logits_;                   // parallel to ids_
  std::vector<float> narrow_, narrow_weights_;  // cutoff's
};

}  // namespace mlxk
