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
  float soft_cap;                  // scores become cap · tanh(score / cap); 0: unchanged
  std::optional<mx::array> sinks;  // [heads] float: a score without a value in each sum of weights
};

/// The keys and values that a call's queries see, including those of its own tokens, in the order of the cache's mask.
struct KvView {
  std::vector<mx::array> keys,
      values;               // one array each, [B, kv_heads, T, dim]; packed: three, as mx::quantize returns them
  int bits = 0, group = 0;  // 0: not packed
};

/// softmax(scale · q kᵀ + mask) v of queries [B, heads, L, key_dim] → [B, heads, L, value_dim]; throws unsupported for
/// options that packed keys do not support.
mx::array attend(const mx::array& queries, const KvView& seen, const AttentionScores& scores,
                 const AttentionMask& mask);

/// Together with a MaskRequest this determines a cache's mask: caches with equal values share one.
struct CacheGeometry {
  std::string_view kind;
  int window = 0, keep = 0;
  bool operator==(const CacheGeometry&) const = default;
};

/// A cache of keys and values. Layers of one kind share the mask, which is made once a call.
class AttentionCache : public Cache {
 public:
  using Cache::Cache;

  virtual CacheGeometry geometry() const { return {kind()}; }
  /// The mask for a call's tokens and the result of append() or view().
  virtual AttentionMask mask(const Positions& positions, const MaskRequest& request = {}) const = 0;
  /// Appends keys and values [B, kv_heads, L, dim], already rotated, and returns what the call's queries see. Of row r
  /// the first positions.lengths[r] are kept.
  virtual KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) = 0;
  /// append() followed by attention.
  virtual mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                           const AttentionScores& scores, const AttentionMask& mask, const Positions& positions);
  /// The view after append() for a layer that reads another layer's cache, to which the call's tokens were appended
  /// already. Throws internal if some of them are no longer there.
  virtual KvView view(const Positions& positions) const;

  /// The buffers for one step that writes keys and values itself: token t of a row is in slot t, or, with a window, in
  /// a ring of `window` slots whose first `keep` stay (AttentionStep).
  struct Slots {
    // [rows, kv_heads, capacity, dim], together B rows; replaced by the arrays that the step returns
    std::vector<mx::array*> keys, values;  // no values: they are the first `value_prefix` numbers of the keys
    int window = 0, keep = 0, value_prefix = 0;
  };
  /// Whether a step can write the call's tokens to slots; otherwise use append().
  virtual bool has_slots(const Positions&) const { return false; }
  /// Whether the device's own operation writes the call's tokens and attends.
  bool attends_in_slots(const Positions& positions) const;
  /// Makes room for the call's tokens and counts them as appended; throws internal unless has_slots().
  virtual Slots reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim, mx::Dtype type);
  /// The buffers of a call whose tokens are appended already, for reading only; throws like view().
  virtual Slots filled_slots(const Positions& positions);

  std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const override;

 protected:
  void advance(const Positions& positions);  // advances positions_ by the call's lengths
};

}  // namespace mlxk
