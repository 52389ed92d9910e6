#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// One layer's memory of the tokens that it has seen. Rows are independent: each has its own length, and its tokens
/// start at slot 0 (shorter rows end earlier; there is no padding at the left). Every call on the worker thread.
class Cache {
 public:
  explicit Cache(int rows) : positions_(rows, 0) {}
  virtual ~Cache() = default;

  /// "full", "rotating", "quantized", "recurrent" or "cross".
  virtual std::string_view kind() const = 0;
  int rows() const { return static_cast<int>(positions_.size()); }
  /// The number of tokens that each row has seen: the position of its next one.
  const std::vector<int>& positions() const { return positions_; }

  /// Announces that rows will hold about `tokens` tokens, so that buffers are not grown and copied several times.
  virtual void expect(int /*tokens*/) {}
  /// Whether the last `n` tokens of every row can be dropped.
  virtual bool can_trim(int n) const = 0;
  /// Drops the last `n` tokens of every row; throws internal if can_trim(n) is false.
  virtual void trim(int n) = 0;
  /// A copy that shares the buffers. While both live, the first append to either copies its buffer once. To restore,
  /// replace this cache by the copy or by a snapshot of it.
  virtual std::unique_ptr<Cache> snapshot() const = 0;
  /// Makes one cache whose rows are the `parts` (of this cache's kind, one row each), for steps over all of them. Until
  /// unbatch() the parts must live and must not be appended to.
  virtual std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const = 0;
  /// Returns the rows of a batched cache to its parts; the batched cache must not be used afterwards.
  virtual void unbatch() {}
  /// The arrays that hold the state, for evaluation and for saving.
  virtual std::vector<mx::array> arrays() const = 0;
  /// Up to this number of tokens, each token has one slot of arrays() (axis 2), in order, so that any range of them can
  /// be copied; 0: arrays() are meaningful only as a whole.
  virtual int addressable_tokens() const { return 0; }
  /// The slots of arrays() for `tokens` tokens; 0 if there are none.
  virtual int slots_for(int /*tokens*/) const { return 0; }
  /// Replaces the content of a cache of one row by `arrays` (evaluated, shaped like arrays(), not shared): the row's
  /// first `tokens` tokens. Throws internal if their number is wrong.
  virtual void restore(std::vector<mx::array> arrays, int tokens) = 0;
  /// Bytes of arrays().
  size_t nbytes() const;

 protected:
  Cache(const Cache&) = default;
  std::vector<int> positions_;
};

/// The caches of a model: one per layer, of any kinds.
class ModelCache {
 public:
  ModelCache() = default;
  explicit ModelCache(std::vector<std::unique_ptr<Cache>> layers) : layers_(std::move(layers)) {}

  size_t size() const { return layers_.size(); }
  Cache& operator[](size_t layer) { return *layers_.at(layer); }
  const Cache& operator[](size_t layer) const { return *layers_.at(layer); }

  int rows() const { return layers_.empty() ? 0 : layers_.front()->rows(); }
  /// The number of tokens that each row has seen.
  const std::vector<int>& positions() const { return layers_.at(0)->positions(); }
  void expect(int tokens) {
    for (const auto& layer : layers_) layer->expect(tokens);
  }
  bool can_trim(int n) const;
  void trim(int n);
  ModelCache snapshot() const;
  /// Cache::batch and unbatch for every layer; there is at least one part.
  static ModelCache batch(std::span<ModelCache* const> parts);
  void unbatch();
  std::vector<mx::array> arrays() const;
  size_t nbytes() const;

 private:
  std::vector<std::unique_ptr<Cache>> layers_;
};

}  // namespace mlxk
