#include "backend/prefix_tree.h"

#include <algorithm>

namespace mlxk {

/// Blocks follow their parent's tokens; so do states, that are of them and `tokens` together.
struct PrefixTree::Entry {
  Entry* parent = nullptr;  // null: the beginning of a scope's prompts
  bool is_state = false;
  std::vector<int32_t> tokens;  // at least one, at most kBlock; only a whole block has others after it
  std::shared_ptr<const PrefixBytes> bytes;
  uint64_t used = 0;  // the last call that did
  std::list<Entry*>::iterator place;
  Entries blocks, states;  // of blocks none begins with another
  const std::string* scope = nullptr;  // of a root

  uint64_t cost() const {
    constexpr uint64_t kOverhead = 512;  // nodes, counters, the allocator's
    return bytes->size + tokens.size() * sizeof(int32_t) + kOverhead;
  }
};

namespace {

size_t common_start(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t length = std::min(a.size(), b.size());
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(length), b.begin()).first -
                             a.begin());
}

}  // namespace

std::span<const int32_t> PrefixTree::ByTokens::of(const std::unique_ptr<Entry>& entry) { return entry->tokens; }

PrefixTree::PrefixTree(uint64_t budget_bytes, std::vector<int> breaks)
    : budget_(budget_bytes), breaks_(std::move(breaks)) {}

PrefixTree::~PrefixTree() = default;

PrefixTree::Entry& PrefixTree::root_of(const std::string& scope) {
  const auto [it, fresh] = roots_.try_emplace(scope);
  if (fresh) {
    it->second = std::make_unique<Entry>();
    it->second->scope = &it->first;
  }
  it->second->used = now_;
  return *it->second;
}

/// Of a whole block.
size_t PrefixTree::length_at(size_t begin) const {
  size_t length = kBlock;
  for (const int at : breaks_) {
    if (static_cast<size_t>(at) > begin) length = std::min(length, static_cast<size_t>(at) - begin);
  }
  return length;
}

PrefixMatch PrefixTree::find(const std::string& scope, Tokens prompt, int stateless) {
  ++now_;
  PrefixMatch match;
  const auto found = roots_.find(scope);
  if (found == roots_.end()) return match;
  Entry* node = found->second.get();
  std::vector<Entry*> path;
  Entry* state = nullptr;
  for (size_t begin = 0, length = 0; begin < prompt.size(); begin += length) {
    length = length_at(begin);
    const Tokens rest = prompt.subspan(begin, std::min(length, prompt.size() - begin));
    // The block that has most in common with it stands beside its place.
    Entry* best = nullptr;
    size_t common = 0;
    const auto at = node->blocks.lower_bound(rest);
    const auto consider = [&](Entries::const_iterator it) {
      const size_t same = common_start(rest, (*it)->tokens);
      if (same <= common) return;
      best = it->get();
      common = same;
    };
    if (at != node->blocks.end()) consider(at);
    if (at != node->blocks.begin()) consider(std::prev(at));
    for (size_t tail = common; tail > 0; --tail) {
      const auto it = node->states.find(rest.first(tail));
      if (it == node->states.end()) continue;
      state = it->get();
      match.usable = static_cast<int>(begin + tail);
      break;
    }
    if (!best) break;
    path.push_back(best);
    match.blocks.push_back(best->bytes);
    match.known = static_cast<int>(begin + common);
    if (common < length) break;
    node = best;
  }
  if (std::min(match.known, stateless) >= match.usable) {
    match.usable = std::min(match.known, stateless);
    state = nullptr;
  }
  while (!match.blocks.empty() && match.blocks.back()->from >= match.usable) match.blocks.pop_back();
  if (state) {
    match.state = state->bytes;
    path.push_back(state);
  }
  touch(path);
  return match;
}

void PrefixTree::insert(const std::string& scope, Tokens tokens, bool to_the_token, int first, const Size& size,
                        const Fill& fill) {
  ++now_;
  Entry& root = root_of(scope);
  Entry* node = &root;
  std::vector<Entry*> path;
  for (size_t begin = 0, length = 0; begin < tokens.size(); begin += length) {
    length = length_at(begin);
    if (tokens.size() - begin < length && !to_the_token) break;
    const Tokens part = tokens.subspan(begin, std::min(length, tokens.size() - begin));
    const auto at = node->blocks.lower_bound(part);
    Entry* block = nullptr;
    if (at != node->blocks.end() && common_start((*at)->tokens, part) == part.size()) {
      block = at->get();
    } else {
      if (begin < static_cast<size_t>(first)) break;
      if (at != node->blocks.begin()) {
        // A shorter block of the same beginning gives way.
        Entry& before = **std::prev(at);
        if (common_start(before.tokens, part) == before.tokens.size()) remove(before);
      }
      const auto from = static_cast<int>(begin), to = static_cast<int>(begin + part.size());
      touch(path);  // none of these gives way to what follows it
      block = add(*node, false, begin, part, size(from, to), [&](std::byte* out) { fill(from, to, out); });
      if (!block) break;
    }
    path.push_back(block);
    node = block;
  }
  touch(path);
  drop_root_if_empty(root);
}

void PrefixTree::insert_state(const std::string& scope, Tokens tokens, size_t size,
                              const std::function<void(std::byte* out)>& fill) {
  if (tokens.empty()) return;
  ++now_;
  Entry& root = root_of(scope);
  std::vector<Entry*> path;
  Entry* node = &root;
  size_t begin = 0;
  for (size_t length = length_at(0); node && tokens.size() - begin > length; length = length_at(begin)) {
    const auto it = node->blocks.find(tokens.subspan(begin, length));
    node = it == node->blocks.end() ? nullptr : it->get();
    if (node) path.push_back(node);
    begin += length;
  }
  touch(path);
  if (node) {
    const Tokens rest = tokens.subspan(begin);
    const auto it = node->states.find(rest);
    Entry* state = it != node->states.end() ? it->get() : add(*node, true, begin, rest, size, fill);
    if (state) path.push_back(state);
    touch(path);
  }
  drop_root_if_empty(root);
}

void PrefixTree::touch(const std::vector<Entry*>& path) {
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    (*it)->used = now_;
    entries_.splice(entries_.begin(), entries_, (*it)->place);
  }
}

bool PrefixTree::make_room(uint64_t bytes) {
  if (bytes > budget_) return false;
  while (bytes_ + bytes > budget_) {
    Entry& oldest = *entries_.back();
    if (oldest.used == now_) return false;
    Entry* root = oldest.parent;
    while (root->parent) root = root->parent;
    remove(oldest);
    if (root->used != now_) drop_root_if_empty(*root);
  }
  return true;
}

PrefixTree::Entry* PrefixTree::add(Entry& parent, bool state, size_t from, Tokens tokens, size_t size,
                                   const std::function<void(std::byte* out)>& fill) {
  auto entry = std::make_unique<Entry>();
  auto bytes = std::make_shared<PrefixBytes>();
  entry->parent = &parent;
  entry->is_state = state;
  entry->tokens.assign(tokens.begin(), tokens.end());
  entry->used = now_;
  bytes->from = static_cast<int>(from);
  bytes->tokens = static_cast<int>(tokens.size());
  bytes->size = size;
  entry->bytes = bytes;
  if (!make_room(entry->cost())) return nullptr;
  bytes->data = std::make_unique_for_overwrite<std::byte[]>(size);
  fill(bytes->data.get());
  Entry* added = entry.get();
  added->place = entries_.insert(entries_.begin(), added);
  bytes_ += added->cost();
  (state ? parent.states : parent.blocks).insert(std::move(entry));
  return added;
}

void PrefixTree::remove(Entry& entry) {
  bytes_ -= entry.cost();
  entries_.erase(entry.place);
  auto& siblings = entry.is_state ? entry.parent->states : entry.parent->blocks;
  siblings.erase(siblings.find(Tokens(entry.tokens)));
}

void PrefixTree::drop_root_if_empty(Entry& root) {
  if (root.blocks.empty() && root.states.empty()) roots_.erase(std::string(*root.scope));
}

void PrefixTree::clear() {
  entries_.clear();
  roots_.clear();
  bytes_ = 0;
}

}  // namespace mlxk
