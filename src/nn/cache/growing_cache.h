#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// What caches of every token have in common: buffers [B, kv_heads, capacity, …] that grow in steps and are appended to
/// in place. Evaluate (or start) what attends to tokens before trimming them: the next ones take their slots.
class GrowingCache : public AttentionCache {
 public:
  static constexpr int kStep = 256;
  using AttentionCache::AttentionCache;

  void expect(int tokens) override { expected_ = tokens; }
  bool can_trim(int n) const override;
  void trim(int n) override;
  std::vector<mx::array> arrays() const override { return buffers_; }
  int addressable_tokens() const override { return std::numeric_limits<int>::max(); }
  int slots_for(int tokens) const override;
  void restore(std::vector<mx::array> arrays, int tokens) override;
  AttentionMask mask(const Positions& positions, const MaskRequest& request = {}) const override;

 protected:
  /// Appends `parts` [B, kv_heads, L, …], one for each buffer; returns views of all tokens [B, kv_heads, T, …].
  std::vector<mx::array> append_parts(const std::vector<mx::array>& parts, const Positions& positions);
  /// Views of the call's tokens and all before them, which are there already.
  std::vector<mx::array> filled(const Positions& positions) const;
  /// Room for `tokens` in every buffer, of which there is one for each of `samples` ([B, kv_heads, any, …]).
  void grow(int tokens, const std::vector<mx::array>& samples);
  /// Whether a snapshot holds the same buffers, which must then be copied before they are written to.
  bool is_shared() const { return owner_.use_count() > 1; }
  /// Copies the buffers where a snapshot has them too.
  void unshare();
  int capacity() const { return buffers_.empty() ? 0 : buffers_.front().shape(2); }
  std::vector<mx::array>& buffers() { return buffers_; }

 private:
  int expected_ = 0;  // tokens
  std::vector<mx::array> buffers_;
  std::shared_ptr<int> owner_ = std::make_shared<int>(0);  // shared with snapshots that have the same buffers
};

}  // namespace mlxk
