#include "backend/prefix_tree.h"

#include <algorithm>

namespace mlxk {

/// A block follows its parent's tokens; so does a state, which belongs to those and `tokens` together.
struct PrefixTree::Entry {
  Entry* parent = nullptr;      // null: the root of a scope's prompts
  std::vector<int32_t> tokens;  // at least one, at most kBlock; only a whole block has children
  std::shared_ptr<const PrefixBytes> bytes;
  uint64_t used = 0;                   // the last call that used it
  std::list<Entry*>::iterator place;   // the position in the list of entries with data
  Entries blocks, states;              // no block is a prefix of another
  const std::string* scope = nullptr;  // only of a root

  uint64_t cost() const { return cost_of(*bytes); }
  static uint64_t cost_of(const PrefixBytes& bytes) {
    constexpr uint64_t kOverhead = 512;  // nodes, counters, the allocator's overhead
    return bytes.size + static_cast<uint64_t>(bytes.tokens) * sizeof(int32_t) + kOverhead;
  }
};

namespace {

size_t common_start(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto length = static_cast<std::ptrdiff_t>(std::min(a.size(), b.size()));
  return static_cast<size_t>(std::mismatch(a.begin(), a.begin() + length, b.begin()).first - a.begin());
}

}  // namespace

std::span<const int32_t> PrefixTree::ByTokens::of(const std::unique_ptr<Entry>& entry) { return entry->tokens; }

PrefixTree::PrefixTree(uint64_t budget_bytes, std::vector<int> breaks, Name name)
    : budget_(budget_bytes), breaks_(std::move(breaks)), name_(std::move(name)) {}

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

/// The size of a whole block.
size_t PrefixTree::length_at(size_t begin) const {
  size_t length = kBlock;
  for (const int at : breaks_) {
    if (static_cast<size_t>(at) > begin) length = std::min(length, static_cast<size_t>(at) - begin);
  }
  return length;
}

PrefixMatch PrefixTree::find(const std::string& scope, Tokens prompt, int stateless, const Load& load) {
  ++now_;
  while (true) {
    const auto root = roots_.find(scope);
    if (root == roots_.end()) return {};
    std::vector<Entry*> path;
    PrefixMatch match = walk(*root->second, prompt, stateless, path);
    touch(path);
    if (!load) return match;
    Entry* lost = nullptr;
    const auto need = [&](Entry* entry, std::shared_ptr<const PrefixBytes>& bytes) {
      if (lost || bytes->is_here()) return;
      bytes = load(*bytes);
      if (!bytes) {
        lost = entry;
      } else if (entry->parent->scope || entry->parent->bytes->is_here()) {
        hold(*entry, bytes);
      }
    };
    for (size_t i = 0; i < match.blocks.size(); ++i) need(path[i], match.blocks[i]);
    if (match.state) need(path.back(), match.state);
    touch(path);
    if (!lost) return match;
    remove(*lost);
    drop_root_if_empty(*root->second);
  }
}

PrefixMatch PrefixTree::walk(Entry& root, Tokens prompt, int stateless, std::vector<Entry*>& path) {
  PrefixMatch match;
  Entry* node = &root;
  Entry* state = nullptr;
  for (size_t begin = 0, length = 0; begin < prompt.size(); begin += length) {
    length = length_at(begin);
    const Tokens rest = prompt.subspan(begin, std::min(length, prompt.size() - begin));
    // The block that shares most tokens with it is next to its place.
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
  return match;
}

PrefixTree::Added PrefixTree::insert(const std::string& scope, Tokens tokens, bool to_the_token, int first,
                                     const Size& size, const Fill& fill) {
  ++now_;
  Added added;
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
      const auto from = static_cast<int>(begin), to = static_cast<int>(begin + part.size());
      touch(path);  // none of these may be evicted for its own successor
      block = fill_new(*node, scope, tokens.first(begin + part.size()), false, size(from, to), fill);
      if (!block) break;
      added.push_back(block->bytes);
    }
    path.push_back(block);
    node = block;
  }
  touch(path);
  drop_root_if_empty(root);
  return added;
}

/// The block that ends `tokens`, which every later entry needs; the root if they end within the first block; null if it
/// is not there.
PrefixTree::Entry* PrefixTree::block_before(Entry& root, Tokens tokens, std::vector<Entry*>& path) {
  Entry* node = &root;
  size_t begin = 0;
  for (size_t length = length_at(0); node && tokens.size() - begin > length; length = length_at(begin)) {
    const auto it = node->blocks.find(tokens.subspan(begin, length));
    node = it == node->blocks.end() ? nullptr : it->get();
    if (node) path.push_back(node);
    begin += length;
  }
  return node;
}

PrefixTree::Added PrefixTree::insert_state(const std::string& scope, Tokens tokens, size_t size, const Fill& fill) {
  Added added;
  if (tokens.empty()) return added;
  ++now_;
  Entry& root = root_of(scope);
  std::vector<Entry*> path;
  Entry* node = block_before(root, tokens, path);
  touch(path);
  if (node) {
    const size_t begin = path.empty() ? 0 : static_cast<size_t>(path.back()->bytes->from + path.back()->bytes->tokens);
    const auto it = node->states.find(tokens.subspan(begin));
    Entry* state = it != node->states.end() ? it->get() : fill_new(*node, scope, tokens, true, size, fill);
    if (state && it == node->states.end()) added.push_back(state->bytes);
    if (state) path.push_back(state);
    touch(path);
  }
  drop_root_if_empty(root);
  return added;
}

bool PrefixTree::insert_known(const std::string& scope, Tokens tokens, std::shared_ptr<const PrefixBytes> bytes) {
  ++now_;
  Entry& root = root_of(scope);
  std::vector<Entry*> path;
  Entry* node = block_before(root, tokens, path);
  const auto begin = static_cast<size_t>(bytes->from);
  bool useful =
      node && begin < tokens.size() && tokens.size() - begin <= length_at(begin) &&
      tokens.size() - begin == static_cast<size_t>(bytes->tokens) &&
      begin == (path.empty() ? 0 : static_cast<size_t>(path.back()->bytes->from + path.back()->bytes->tokens));
  if (useful) {
    const Tokens part = tokens.subspan(begin);
    const Entries& siblings = bytes->is_state ? node->states : node->blocks;
    const auto at = siblings.lower_bound(part);
    useful = at == siblings.end() || common_start((*at)->tokens, part) < part.size() ||
             (bytes->is_state && (*at)->tokens.size() > part.size());
    if (useful) add(*node, part, std::move(bytes));
  }
  drop_root_if_empty(root);
  return useful;
}

void PrefixTree::touch(const std::vector<Entry*>& path) {
  for (auto it = path.rbegin(); it != path.rend(); ++it) {
    (*it)->used = now_;
    if ((*it)->bytes->is_here()) entries_.splice(entries_.begin(), entries_, (*it)->place);
  }
}

bool PrefixTree::make_room(uint64_t bytes) {
  if (bytes > budget_) return false;
  while (bytes_ + bytes > budget_) {
    Entry& oldest = *entries_.back();
    if (oldest.used == now_) return false;
    if (!oldest.bytes->file.empty()) {
      drop_data(oldest);
      continue;
    }
    Entry* root = oldest.parent;
    while (root->parent) root = root->parent;
    remove(oldest);
    if (root->used != now_) drop_root_if_empty(*root);
  }
  return true;
}

/// Inserts an entry, replacing a block that is a prefix of it.
PrefixTree::Entry* PrefixTree::add(Entry& parent, Tokens tokens, std::shared_ptr<const PrefixBytes> bytes) {
  auto& siblings = bytes->is_state ? parent.states : parent.blocks;
  const auto at = siblings.lower_bound(tokens);
  if (!bytes->is_state && at != siblings.begin()) {
    Entry& before = **std::prev(at);
    if (common_start(before.tokens, tokens) == before.tokens.size()) remove(before);
  }
  auto entry = std::make_unique<Entry>();
  entry->parent = &parent;
  entry->tokens.assign(tokens.begin(), tokens.end());
  entry->used = now_;
  entry->bytes = std::move(bytes);
  Entry* added = entry.get();
  siblings.insert(std::move(entry));
  if (!added->bytes->is_here()) return added;
  added->place = entries_.insert(entries_.begin(), added);
  bytes_ += added->cost();
  return added;
}

PrefixTree::Entry* PrefixTree::fill_new(Entry& parent, const std::string& scope, Tokens all, bool is_state, size_t size,
                                        const Fill& fill) {
  auto bytes = std::make_shared<PrefixBytes>();
  bytes->from = parent.scope ? 0 : parent.bytes->from + parent.bytes->tokens;
  bytes->tokens = static_cast<int>(all.size()) - bytes->from;
  bytes->is_state = is_state;
  bytes->size = size;
  if (!make_room(Entry::cost_of(*bytes))) return nullptr;
  fill(*bytes);
  if (name_) bytes->file = name_(scope, all, bytes->from, is_state);
  return add(parent, all.subspan(static_cast<size_t>(bytes->from)), bytes);
}

/// Keeps loaded data in memory if there is room.
void PrefixTree::hold(Entry& entry, std::shared_ptr<const PrefixBytes> bytes) {
  if (!make_room(Entry::cost_of(*bytes))) return;
  entry.bytes = std::move(bytes);
  entry.place = entries_.insert(entries_.begin(), &entry);
  bytes_ += entry.cost();
}

void PrefixTree::drop_data(Entry& entry) {
  auto known = std::make_shared<PrefixBytes>();
  const PrefixBytes& had = *entry.bytes;
  known->from = had.from;
  known->tokens = had.tokens;
  known->is_state = had.is_state;
  known->size = had.size;
  known->file = had.file;
  bytes_ -= entry.cost();
  entries_.erase(entry.place);
  entry.bytes = std::move(known);
}

/// Also forgets everything that follows it.
void PrefixTree::remove(Entry& entry) {
  while (!entry.blocks.empty()) remove(**entry.blocks.begin());
  while (!entry.states.empty()) remove(**entry.states.begin());
  if (entry.bytes->is_here()) {
    bytes_ -= entry.cost();
    entries_.erase(entry.place);
  }
  auto& siblings = entry.bytes->is_state ? entry.parent->states : entry.parent->blocks;
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
