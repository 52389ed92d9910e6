#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/prefix_tree.h"
#include "models/model.h"

namespace mlxk {

/// Where the bytes of a model's caches lie: what of them belongs to single tokens and can be copied in pieces, and what
/// is a state as a whole (a ring that has wrapped, a recurrent layer). Worker thread.
class CacheLayout {
 public:
  /// Asks `model` by the graph of a forward pass, which is not computed.
  explicit CacheLayout(Model& model);

  /// Tokens that a cache can have without a state that must be kept whole.
  int stateless_tokens() const;
  /// Where caching must stop on the way from `from` tokens on, before the tokens of a layer lie otherwise; the largest
  /// int where there is nothing.
  int next_change(int from) const;

  /// All such places.
  std::vector<int> changes() const;
  /// The first token of those that save_tokens can still copy from a cache that has seen `tokens`, as far as blocks
  /// that end at changes are concerned.
  int first_saveable(int tokens) const;

  /// Of tokens [from, to), and of the state after `tokens` tokens.
  size_t token_bytes(int from, int to) const;
  size_t state_bytes(int tokens) const;
  /// Copies the tokens that `bytes` names from an evaluated `cache` that has seen them all, and no more than the next
  /// change after the first of them; on a device with memory of its own they stay there, unless something is a state,
  /// and come to the host only where that is `also_on_host`. save_state: the state after all that was seen.
  void save_tokens(const ModelCache& cache, PrefixBytes& bytes, bool also_on_host) const;
  void save_state(const ModelCache& cache, PrefixBytes& bytes) const;
  /// Makes `cache`, one row, what it was after match.usable tokens.
  void restore(const PrefixMatch& match, ModelCache& cache) const;

  /// Bytes that the buffers of one row take at most for so many tokens.
  uint64_t row_bytes(int64_t tokens) const;

 private:
  struct Part {
    mx::Shape shape;  // [1, heads, slots, …] where a layer is addressable
    mx::Dtype type;
    size_t heads, run;  // there: how many, and one token's bytes in each; else: 1, all bytes
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
