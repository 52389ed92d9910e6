#pragma once

#include <cstdint>

#include "backend/cache_layout.h"
#include "backend/prefix_tree.h"
#include "worker/backend.h"

namespace mlxk {

/// The keys and values of past prompts of a model, for those that begin alike. Only what was computed as a prompt is kept:
/// what decoding computes has other bits. Worker thread.
class PrefixCache {
 public:
  /// Of a model whose caches are as in `layout`, which must outlive it.
  PrefixCache(const CacheLayout& layout, uint64_t budget_bytes);

  /// Whether anything is kept at all.
  bool on() const { return budget_ > 0; }
  /// What is kept of a prompt without its last token, which is always computed.
  PrefixMatch find(const GenerateRequest& request);
  /// Where a prompt's caching should stop, at the latest, on the way from `from` tokens on, so that it can be saved.
  int next_stop(int from) const { return layout_.next_change(from); }
  /// Whether caches of so many tokens can be restored only where their state was kept.
  bool needs_state(int64_t tokens) const { return tokens > layout_.stateless_tokens(); }
  /// Makes `cache` what it was after match.usable tokens.
  void restore(const PrefixMatch& match, ModelCache& cache) const { layout_.restore(match, cache); }
  /// Keeps what `cache` has seen, the beginning of the request's prompt. `to_the_token`: also what fills no block, and the
  /// state where one is needed; else blocks only.
  void save(const GenerateRequest& request, const ModelCache& cache, bool to_the_token);
  /// Counts a prompt of which `hit` tokens were kept.
  void count(int64_t tokens, int64_t hit);
  /// Forgets all.
  void clear() { tree_.clear(); }
  void add_facts(CacheFacts& facts) const;

 private:
  const CacheLayout& layout_;
  uint64_t budget_;
  PrefixTree tree_;
  uint64_t hit_tokens_ = 0, lookup_tokens_ = 0;
};

}  // namespace mlxk
