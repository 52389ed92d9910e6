#pragma once

#include <limits>
#include <memory>
#include <vector>

#include "nn/cache/attention_cache.h"

namespace mlxk {

/// The common part of caches that keep every token: buffers [B, kv_heads, capacity, …] that grow in steps and are
/// appended to in place. Evaluate (or start) attention over tokens before you trim them: later tokens reuse their
/// slots.
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
  /// Views of the call's tokens and all before them, which were appended already.
  std::vector<mx::array> filled(const Positions& positions) const;
  /// Makes room for `tokens` in every buffer; there is one buffer for each of `samples` ([B, kv_heads, any, …]).
  void grow(int tokens, const std::vector<mx::array>& samples);
  /// Whether a snapshot shares the buffers, which must then be copied before a write.
  bool is_shared() const { return owner_.use_count() > 1; }
  /// Copies the buffers if a snapshot shares them.
  void unshare();
  int capacity() const { return buffers_.empty() ? 0 : buffers_.front().shape(2); }
  std::vector<mx::array>& buffers() { return buffers_; }

 private:
  int expected_ = 0;  // tokens
  std::vector<mx::array> buffers_;
  std::shared_ptr<int> owner_ = std::make_shared<int>(0);  // shared with the snapshots that use the same buffers
};

}  // namespace mlxk
