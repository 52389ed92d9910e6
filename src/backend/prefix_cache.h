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

/// Keys and values of a model's past prompts, reused by prompts with the same beginning; kept in memory and, if a
/// folder is given, on disk. Only tokens computed as a prompt are kept, because decoding gives other bits. Worker
/// thread.
class PrefixCache {
 public:
  /// For a model whose caches have `layout`, which must outlive this object; `identity` separates it from other models
  /// on disk. A folder that cannot be used gives a warning and is not used.
  PrefixCache(const CacheLayout& layout, const LoadOptions& options, const std::string& identity);

  /// Whether anything is cached at all.
  bool on() const { return budget_ > 0; }
  /// What is cached of a prompt, without its last token, which is always computed.
  PrefixMatch peek(const PrefixKey& key);
  /// The same, loaded into memory.
  PrefixMatch find(const PrefixKey& key);
  /// The position at which a prompt's caching must stop on the way from `from` tokens on, so that it can be saved.
  int next_stop(int from) const { return layout_.next_change(from); }
  /// Whether caches of `tokens` tokens can be restored only where their state was saved.
  bool needs_state(int64_t tokens) const { return tokens > layout_.stateless_tokens(); }
  /// Restores `cache` to its state after match.usable tokens.
  void restore(const PrefixMatch& match, ModelCache& cache) const { layout_.restore(match, cache); }
  /// Saves the tokens that `cache` has seen, the beginning of the prompt of `key`. With `to_the_token` it also saves
  /// tokens that fill no block, and the state if one is needed; else whole blocks only.
  void save(const PrefixKey& key, const ModelCache& cache, bool to_the_token);
  /// Counts a prompt of which `hit` tokens were cached.
  void count(int64_t tokens, int64_t hit);
  /// Drops everything in memory.
  void clear() { tree_.clear(); }
  /// Waits until everything is written to disk.
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
