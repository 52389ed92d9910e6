#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/prefix_tree.h"
#include "models/model.h"

namespace mlxk {

/// Describes where the bytes of a model's caches lie: which belong to single tokens and can be copied in pieces, and
/// which form a state that is saved whole (a ring that has wrapped, a recurrent layer). Worker thread.
class CacheLayout {
 public:
  /// Learns the layout of `model` from the graph of a forward pass, which is not evaluated.
  explicit CacheLayout(Model& model);

  /// The number of tokens that a cache can hold without a state that must be saved whole.
  int stateless_tokens() const;
  /// The position at which caching must stop on the way from `from` tokens on, because a layer's storage changes there;
  /// the largest int if there is none.
  int next_change(int from) const;

  /// All such positions.
  std::vector<int> changes() const;
  /// The first token that save_tokens can still copy from a cache that has seen `tokens` tokens, given that blocks end
  /// at storage changes.
  int first_saveable(int tokens) const;

  /// The size in bytes of tokens [from, to), and of the state after `tokens` tokens.
  size_t token_bytes(int from, int to) const;
  size_t state_bytes(int tokens) const;
  /// save_tokens copies the tokens that `bytes` names from an evaluated `cache` that has seen them all, up to the next
  /// storage change after the first of them. On a device with its own memory the copies stay there unless a part is a
  /// state; `also_on_host` copies them to the host as well. save_state copies the state after all tokens seen.
  void save_tokens(const ModelCache& cache, PrefixBytes& bytes, bool also_on_host) const;
  void save_state(const ModelCache& cache, PrefixBytes& bytes) const;
  /// Restores `cache` (one row) to its state after match.usable tokens.
  void restore(const PrefixMatch& match, ModelCache& cache) const;

  /// The most bytes that the buffers of one row need for `tokens` tokens.
  uint64_t row_bytes(int64_t tokens) const;

 private:
  struct Part {
    mx::Shape shape;  // [1, heads, slots, …] where a layer is addressable
    mx::Dtype type;
    size_t heads, run;  // addressable: the number of such parts, and one token's bytes in each; else 1 and all bytes
    size_t bytes(int tokens) const { return heads * run * static_cast<size_t>(tokens); }
  };
  struct Layer {
    int addressable;  // tokens
    std::vector<Part> parts;
  };

  static int within(const Layer& layer, int from, int to);
  void restore_on_device(const PrefixMatch& match, ModelCache& cache) const;

  std::vector<Layer> layers_;
  ModelCache sample_;  // has seen one token
  bool on_device_ = false;
};

}  // namespace mlxk
