#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/cache_layout.h"
#include "backend/prefix_files.h"
#include "backend/prefix_key.h"
#include "backend/prefix_tree.h"
#include "worker/facts.h"
#include "worker/load_options.h"

namespace mlxk {

struct GenerateRequest;

/// The keys and values of past prompts of a model, for those that begin alike: in memory, and on disk where a folder is
/// given. Only what was computed as a prompt is kept: what decoding computes has other bits. Worker thread.
class PrefixCache {
 public:
  /// Of a model whose caches are as in `layout`, which must outlive it; `identity` tells it from others on disk. A
  /// folder that cannot be used is warned of and left alone.
  PrefixCache(const CacheLayout& layout, const LoadOptions& options, const std::string& identity);

  /// Whether anything is kept at all.
  bool on() const { return budget_ > 0; }
  /// What is known of a prompt without its last token, which is always computed.
  PrefixMatch peek(const PrefixKey& key);
  /// The same, all of it in memory.
  PrefixMatch find(const PrefixKey& key);
  /// Where a prompt's caching must stop on the way from `from` tokens on, so that it can be saved.
  int next_stop(int from) const { return layout_.next_change(from); }
  /// Whether caches of so many tokens can be restored only where their state was kept.
  bool needs_state(int64_t tokens) const { return tokens > layout_.stateless_tokens(); }
  /// Makes `cache` what it was after match.usable tokens.
  void restore(const PrefixMatch& match, ModelCache& cache) const { layout_.restore(match, cache); }
  /// Keeps what `cache` has seen, the beginning of the prompt of `key`. `to_the_token`: also what fills no block, and
  /// the state where one is needed; else blocks only.
  void save(const PrefixKey& key, const ModelCache& cache, bool to_the_token);
  /// Counts a prompt of which `hit` tokens were kept.
  void count(int64_t tokens, int64_t hit);
  /// Forgets all that is in memory.
  void clear() { tree_.clear(); }
  /// Waits until what was kept is on disk.
  void flush();
  void add_facts(CacheFacts& facts) const;

 private:
  void list_files();
  void write(const std::string& scope, std::span<const int32_t> tokens, const PrefixTree::Added& added);

  const CacheLayout& layout_;
  uint64_t budget_;
  std::unique_ptr<PrefixFiles> files_;
  PrefixTree tree_;
  uint64_t hit_tokens_ = 0, lookup_tokens_ = 0;
};

}  // namespace mlxk
