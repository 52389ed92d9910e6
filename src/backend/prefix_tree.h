#pragma once

#include <mlx/array.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace mlxk {

/// The saved cache of a range of tokens, in a form that only CacheLayout knows.
struct PrefixBytes {
  int from = 0, tokens = 0;  // the range of tokens
  bool is_state = false;
  size_t size = 0;
  std::unique_ptr<std::byte[]> data;          // null: not in the host's memory
  std::optional<mlx::core::array> on_device;  // the same bytes on a device with its own memory
  std::string file;                           // its file; empty: none

  /// Whether the data is in memory, not only in its file.
  bool is_here() const { return data || on_device; }
  /// Allocates `size` bytes in the host's memory.
  std::byte* allocate() {
    data = std::make_unique_for_overwrite<std::byte[]>(size);
    return data.get();
  }
};

/// The longest cached prefix of a prompt.
struct PrefixMatch {
  int known = 0;                                           // tokens whose blocks are cached
  int usable = 0;                                          // of those, the tokens that can be restored completely
  std::vector<std::shared_ptr<const PrefixBytes>> blocks;  // one after the other
  std::shared_ptr<const PrefixBytes> state;                // the state after `usable` tokens, if needed
};

/// The cached prompts as a tree of token blocks: prompts with the same beginning share blocks and are told apart by
/// their tokens. Whole states after certain tokens are stored beside the blocks. The least recently used entries are
/// evicted. One thread at a time.
class PrefixTree {
 public:
  static constexpr int kBlock = 64;
  /// Saves the tokens that `bytes` names into its data, or on the device.
  using Fill = std::function<void(PrefixBytes& bytes)>;
  /// The size in bytes of the entry.
  using Size = std::function<size_t(int from, int to)>;
  /// The entry of a file with its data; null if it is gone.
  using Load = std::function<std::shared_ptr<const PrefixBytes>(const PrefixBytes& bytes)>;
  /// The name of the file for the entry that ends `tokens`.
  using Name =
      std::function<std::string(const std::string& scope, std::span<const int32_t> tokens, int from, bool is_state)>;
  using Added = std::vector<std::shared_ptr<const PrefixBytes>>;

  /// Blocks also end at each of `breaks`. With `name`, entries evicted from memory are still known and are loaded from
  /// their files.
  explicit PrefixTree(uint64_t budget_bytes, std::vector<int> breaks = {}, Name name = {});
  ~PrefixTree();
  PrefixTree(const PrefixTree&) = delete;
  PrefixTree& operator=(const PrefixTree&) = delete;

  /// What is cached of `prompt` within `scope`; the first `stateless` tokens can be used without a state. Without
  /// `load` data may be missing; with it, entries that cannot be loaded are forgotten.
  PrefixMatch find(const std::string& scope, std::span<const int32_t> prompt, int stateless, const Load& load = {});
  /// Inserts the blocks of `tokens` that are not there yet and fit: up to the last token with `to_the_token`, else
  /// whole blocks only. Blocks that begin before `first` can no longer be filled. Returns the new ones. Throws what
  /// `fill` throws.
  Added insert(const std::string& scope, std::span<const int32_t> tokens, bool to_the_token, int first,
               const Size& size, const Fill& fill);
  /// Inserts a state of `size` bytes after all of `tokens`, whose blocks were inserted before.
  Added insert_state(const std::string& scope, std::span<const int32_t> tokens, size_t size, const Fill& fill);
  /// Inserts an entry from a file at the end of `tokens`. Returns false if the entry before it was not inserted,
  /// because it is then of no use.
  bool insert_known(const std::string& scope, std::span<const int32_t> tokens,
                    std::shared_ptr<const PrefixBytes> bytes);
  void clear();

  uint64_t bytes() const { return bytes_; }
  uint64_t entries() const { return entries_.size(); }

 private:
  struct Entry;
  struct ByTokens {
    using is_transparent = void;
    static std::span<const int32_t> of(const std::unique_ptr<Entry>& entry);
    static std::span<const int32_t> of(std::span<const int32_t> tokens) { return tokens; }
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      const auto x = of(a), y = of(b);
      return std::lexicographical_compare(x.begin(), x.end(), y.begin(), y.end());
    }
  };
  using Entries = std::set<std::unique_ptr<Entry>, ByTokens>;
  using Tokens = std::span<const int32_t>;

  Entry& root_of(const std::string& scope);
  PrefixMatch walk(Entry& root, Tokens prompt, int stateless, std::vector<Entry*>& path);
  Entry* block_before(Entry& root, Tokens tokens, std::vector<Entry*>& path);
  Entry* add(Entry& parent, Tokens tokens, std::shared_ptr<const PrefixBytes> bytes);
  size_t length_at(size_t begin) const;
  void touch(const std::vector<Entry*>& path);
  bool make_room(uint64_t bytes);
  Entry* fill_new(Entry& parent, const std::string& scope, Tokens all, bool is_state, size_t size, const Fill& fill);
  void hold(Entry& entry, std::shared_ptr<const PrefixBytes> bytes);
  void drop_data(Entry& entry);
  void remove(Entry& entry);
  void drop_root_if_empty(Entry& root);

  const uint64_t budget_;
  const std::vector<int> breaks_;
  const Name name_;
  uint64_t bytes_ = 0;
  uint64_t now_ = 0;                                     // counts calls
  std::map<std::string, std::unique_ptr<Entry>> roots_;  // by scope
  std::list<Entry*> entries_;  // those with data, most recently used first, parents before their children
};

}  // namespace mlxk
