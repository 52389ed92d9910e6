#pragma once

#include <optional>
#include <utility>

#include "mlx/array.h"
#include "nn/cache/cache.h"
#include "nn/cache/mask.h"
#include "nn/positions.h"

namespace mlxk {

/// How scores become weights.
struct AttentionScores {
  AttentionScores(float scale, float soft_cap = 0, std::optional<mx::array> sinks = std::nullopt)
      : scale(scale), soft_cap(soft_cap), sinks(std::move(sinks)) {}

  float scale;
  float soft_cap;                  // scores become cap · tanh(score / cap); 0: as they are
  std::optional<mx::array> sinks;  // [heads] float: of each head, a score in the sum of weights that has no value
};

/// softmax(scale · q kᵀ + mask) v: queries [B, heads, L, key_dim], keys [B, kv_heads, T, key_dim], values [B, kv_heads,
/// T, value_dim] → [B, heads, L, value_dim].
mx::array scaled_attention(const mx::array& queries, const mx::array& keys, const mx::array& values,
                           const AttentionScores& scores, const AttentionMask& mask);

/// Scores [B, kv_heads, group, L, T] with what `mask` hides at the lowest value.
mx::array hide(const mx::array& scores, const AttentionMask& mask);

/// What decides, with a MaskRequest, which mask a cache needs: caches that are alike in it share one.
struct CacheGeometry {
  std::string_view kind;
  int window = 0, keep = 0;
  bool operator==(const CacheGeometry&) const = default;
};

/// A cache of keys and values. Layers of one kind share the mask, so it is asked for once a call.
class AttentionCache : public Cache {
 public:
  using Cache::Cache;

  virtual CacheGeometry geometry() const { return {kind()}; }
  /// The mask for the tokens that attend() will append next.
  virtual AttentionMask mask(const Positions& positions, const MaskRequest& request = {}) const = 0;
  /// Appends keys and values [B, kv_heads, L, dim], already rotated, and attends with queries as scaled_attention
  /// does. Of row r the first positions.lengths[r] are kept.
  virtual mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                           const AttentionScores& scores, const AttentionMask& mask, const Positions& positions) = 0;

  /// The buffers for one step that writes keys and values by itself: token t of a row is in slot t, or, where there is
  /// a window, in a ring of so many slots whose first `keep` stay (CpuAttentionStep).
  struct Slots {
    // [rows, kv_heads, capacity, head_dim], together B rows; to be replaced by what the step returns
    std::vector<mx::array*> keys, values;
    int window = 0, keep = 0;
  };
  /// Whether the call's tokens can be written so; otherwise this cache must do it itself (attend).
  virtual bool has_slots(const Positions&) const { return false; }
  /// Whether the device's own operation writes the call's tokens and attends.
  bool attends_in_slots(const Positions& positions) const;
  /// Makes room for the call's tokens and counts them as appended; throws internal unless has_slots().
  virtual Slots reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim);

  std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const override;

 protected:
  void advance(const Positions& positions);  // positions_ go on by the call's lengths
};

}  // namespace mlxk
