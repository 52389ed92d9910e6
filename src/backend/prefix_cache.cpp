#include "backend/prefix_cache.h"

#include <fmt/format.h>

#include <new>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "worker/request.h"

namespace mlxk {

namespace {

std::unique_ptr<PrefixFiles> open_files(const LoadOptions& options, const std::string& identity) {
  if (options.prefix_cache_dir.empty() || options.prefix_cache_bytes == 0 || options.prefix_cache_disk_bytes == 0) {
    return nullptr;
  }
  try {
    return std::make_unique<PrefixFiles>(options.prefix_cache_dir, identity, options.prefix_cache_disk_bytes);
  } catch (const Error& e) {
    log::warn(fmt::format("[prefix cache] {}", e.what()));
    return nullptr;
  }
}

std::span<const int32_t> all_but_last(const std::vector<int32_t>& prompt) {
  return std::span(prompt).first(prompt.size() - 1);
}

}  // namespace

PrefixCache::PrefixCache(const CacheLayout& layout, const LoadOptions& options, const std::string& identity)
    : layout_(layout),
      budget_(options.prefix_cache_bytes),
      files_(open_files(options, identity)),
      tree_(budget_, layout.changes(), files_ ? PrefixTree::Name(PrefixFiles::name_of) : PrefixTree::Name()) {
  list_files();
}

void PrefixCache::list_files() {
  if (!files_) return;
  for (auto& piece : files_->list()) {
    const int end = piece.bytes->from + piece.bytes->tokens;
    const size_t size = piece.bytes->is_state ? layout_.state_bytes(end) : layout_.token_bytes(piece.bytes->from, end);
    if (piece.bytes->size == size) tree_.insert_known(piece.scope, piece.tokens, piece.bytes);
  }
}

PrefixMatch PrefixCache::peek(const PrefixKey& key) {
  return tree_.find(prefix_scope(key.scope), all_but_last(key.tokens), layout_.stateless_tokens());
}

PrefixMatch PrefixCache::find(const PrefixKey& key) {
  const auto load = [&](const PrefixBytes& bytes) { return files_ ? files_->read(bytes) : nullptr; };
  const PrefixMatch match =
      tree_.find(prefix_scope(key.scope), all_but_last(key.tokens), layout_.stateless_tokens(), load);
  if (files_ && match.usable > 0) {
    std::vector<std::string> used;
    for (const auto& block : match.blocks) used.push_back(block->file);
    if (match.state) used.push_back(match.state->file);
    files_->touch(std::move(used));
  }
  return match;
}

void PrefixCache::save(const PrefixKey& key, const ModelCache& cache, bool to_the_token) {
  const int seen = cache.positions().front();
  const auto tokens = std::span(key.tokens).first(static_cast<size_t>(seen));
  const std::string scope = prefix_scope(key.scope);
  try {
    write(scope, tokens,
          tree_.insert(
              scope, tokens, to_the_token, layout_.first_saveable(seen),
              [&](int from, int to) { return layout_.token_bytes(from, to); },
              [&](PrefixBytes& bytes) { layout_.save_tokens(cache, bytes, files_ != nullptr); }));
    if (to_the_token && seen > layout_.stateless_tokens()) {
      write(scope, tokens, tree_.insert_state(scope, tokens, layout_.state_bytes(seen), [&](PrefixBytes& bytes) {
        layout_.save_state(cache, bytes);
      }));
    }
  } catch (const std::bad_alloc&) {
    tree_.clear();  // memory is needed elsewhere
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::memory) throw;
    tree_.clear();
  }
}

void PrefixCache::write(const std::string& scope, std::span<const int32_t> tokens, const PrefixTree::Added& added) {
  if (!files_) return;
  for (const auto& bytes : added) {
    const auto all = tokens.first(static_cast<size_t>(bytes->from + bytes->tokens));
    files_->write({scope, {all.begin(), all.end()}, bytes});
  }
}

void PrefixCache::flush() {
  if (files_) files_->flush();
}

void PrefixCache::count(int64_t tokens, int64_t hit) {
  lookup_tokens_ += static_cast<uint64_t>(tokens);
  hit_tokens_ += static_cast<uint64_t>(hit);
}

void PrefixCache::add_facts(CacheFacts& facts) const {
  facts.prefix_bytes = tree_.bytes();
  facts.prefix_disk_bytes = files_ ? files_->bytes() : 0;
  facts.prefix_entries = tree_.entries();
  facts.hit_tokens = hit_tokens_;
  facts.lookup_tokens = lookup_tokens_;
}

}  // namespace mlxk
