#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// The caches of several sequences (one kind, one row each) as the rows of one cache. Their keys and values are not
/// moved: rows join and leave without a copy, and each grows separately.
class BatchedAttentionCache : public AttentionCache {
 public:
  /// `parts` must outlive this object, and must not be appended to meanwhile.
  explicit BatchedAttentionCache(std::span<Cache* const> parts);

  std::string_view kind() const override { return parts_.front()->kind(); }
  bool can_trim(int n) const override;
  void trim(int n) override;
  /// Throws internal: snapshots are taken of the sequences' own caches.
  std::unique_ptr<Cache> snapshot() const override;
  std::vector<mx::array> arrays() const override;
  /// Throws internal, like snapshot.
  void restore(std::vector<mx::array> arrays, int tokens) override;
  /// Empty: each row has its own mask (by_rows).
  AttentionMask mask(const Positions&, const MaskRequest&) const override { return {}; }
  CacheGeometry geometry() const override { return parts_.front()->geometry(); }
  mx::array attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                   const AttentionScores& scores, const AttentionMask& mask, const Positions& positions) override;
  /// Throws internal: rows are appended and read one by one (by_rows).
  KvView append(const mx::array& keys, const mx::array& values, const Positions& positions) override;
  bool has_slots(const Positions& positions) const override;
  Slots filled_slots(const Positions& positions) override;
  Slots reserve_slots(const Positions& positions, int kv_heads, int key_dim, int value_dim, mx::Dtype type) override;

  /// The results of `step` for each row (its cache, its index, its positions), stacked. `appends`: it appends the
  /// call's tokens.
  mx::array by_rows(const Positions& positions, bool appends,
                    const std::function<mx::array(AttentionCache& part, int row, const Positions& at)>& step);

 private:
  Slots slots_of_rows(const Positions& positions, const std::function<Slots(AttentionCache&, const Positions&)>& of);
  static Positions of_row(const Positions& positions, int row);

  std::vector<AttentionCache*> parts_;
};

}  // namespace mlxk
