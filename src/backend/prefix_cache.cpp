#include "backend/prefix_cache.h"

#include <new>
#include <span>

namespace mlxk {

PrefixCache::PrefixCache(const CacheLayout& layout, uint64_t budget_bytes)
    : layout_(layout), budget_(budget_bytes), tree_(budget_bytes, layout.changes()) {}

PrefixMatch PrefixCache::find(const GenerateRequest& request) {
  const std::span<const int32_t> prompt(request.prompt);
  return tree_.find(request.cache_scope, prompt.first(prompt.size() - 1), layout_.stateless_tokens());
}

void PrefixCache::save(const GenerateRequest& request, const ModelCache& cache, bool to_the_token) {
  const int seen = cache.positions().front();
  const auto tokens = std::span(request.prompt).first(static_cast<size_t>(seen));
  try {
    tree_.insert(request.cache_scope, tokens, to_the_token, layout_.first_saveable(seen),
                 [&](int from, int to) { return layout_.token_bytes(from, to); },
                 [&](int from, int to, std::byte* out) { layout_.save_tokens(cache, from, to, out); });
    if (to_the_token && seen > layout_.stateless_tokens()) {
      tree_.insert_state(request.cache_scope, tokens, layout_.state_bytes(seen),
                         [&](std::byte* out) { layout_.save_state(cache, out); });
    }
  } catch (const std::bad_alloc&) {
    tree_.clear();  // memory is needed elsewhere
  }
}

void PrefixCache::count(int64_t tokens, int64_t hit) {
  lookup_tokens_ += static_cast<uint64_t>(tokens);
  hit_tokens_ += static_cast<uint64_t>(hit);
}

void PrefixCache::add_facts(CacheFacts& facts) const {
  facts.prefix_bytes = tree_.bytes();
  facts.prefix_entries = tree_.entries();
  facts.hit_tokens = hit_tokens_;
  facts.lookup_tokens = lookup_tokens_;
}

}  // namespace mlxk
