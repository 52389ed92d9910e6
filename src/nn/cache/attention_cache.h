#pragma once

#include <optional>
#include <string>

#include "mlx/array.h"
#include "nn/cache/cache.h"
#include "nn/positions.h"

namespace mlxk {

/// Which keys each query sees, in the form that scaled_dot_product_attention takes.
struct AttentionMask {
  std::string mode;                // "": all, "causal", "array"
  std::optional<mx::array> array;  // additive or bool (true: seen), [B or 1, 1, L, T]
  bool given = false;              // by the caller; else it is the cache's own, causal one
};

/// softmax(scale · q kᵀ + mask) v, shapes as in AttentionCache::attend with T keys and values.
mx::array scaled_attention(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                           const AttentionMask& mask);

/// A cache of keys and values. Layers of one kind share the mask, so it is asked for once a call.
class AttentionCache : public Cache {
 public:
  using Cache::Cache;

  /// The causal mask for the tokens that attend() will append next.
  virtual AttentionMask mask(const Positions& positions) const = 0;
  /// Appends keys and values [B, kv_heads, L, head_dim], already rotated, and attends with queries
  /// [B, heads, L, head_dim]; returns [B, heads, L, head_dim]. Of row r the first positions.lengths[r] are kept.
  virtual mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values, float scale,
                           const AttentionMask& mask, const Positions& positions) = 0;

  /// The buffers for one step that writes keys and values by itself: token t of a row is in slot t, or, where there is
  /// a window, in a ring of so many slots whose first `keep` stay (CpuAttentionStep).
  struct Slots {
    // [rows, kv_heads, capacity, head_dim], together B rows; to be replaced by what the step returns
    std::vector<mx::array*> keys, values;
    int window = 0, keep = 0;
  };
  /// Whether the call's tokens can be written so; otherwise this cache must do it itself (attend).
  virtual bool has_slots(const Positions&) const { return false; }
  /// Makes room for the call's tokens and counts them as appended; throws internal unless has_slots().
  virtual Slots reserve_slots(const Positions& positions, int kv_heads, int head_dim);

  std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const override;

 protected:
  void advance(const Positions& positions);  // positions_ go on by the call's lengths
};

}  // namespace mlxk
