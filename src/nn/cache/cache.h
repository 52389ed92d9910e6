#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// What one layer remembers of the tokens it has seen. Rows are independent: each has its own length, and its tokens
/// lie from slot 0 on (shorter rows end earlier; nothing is padded at the left). Every call on the worker thread.
class Cache {
 public:
  explicit Cache(int rows) : positions_(rows, 0) {}
  virtual ~Cache() = default;

  /// "full", "rotating", "quantized" or "recurrent".
  virtual std::string_view kind() const = 0;
  int rows() const { return static_cast<int>(positions_.size()); }
  /// The tokens that each row has seen: the position of its next one.
  const std::vector<int>& positions() const { return positions_; }

  /// Says that rows will have about `tokens` tokens, so that buffers need not grow, and be copied, on the way there.
  virtual void expect(int /*tokens*/) {}
  /// Whether every row could forget its last `n` tokens.
  virtual bool can_trim(int n) const = 0;
  /// Forgets the last `n` tokens of every row; throws internal when can_trim(n) is false.
  virtual void trim(int n) = 0;
  /// A copy that shares the buffers. While both live, the first append to either copies its buffer once.
  /// Restoring is putting the copy (or a snapshot of it) in the place of this cache.
  virtual std::unique_ptr<Cache> snapshot() const = 0;
  /// The `parts` (this cache's kind, one row each) as the rows of one cache, for steps of them all. Until it has given
  /// them back (unbatch), they must live and take no tokens of their own.
  virtual std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const = 0;
  /// Gives the rows of a batched cache back to its parts; it is not used any more.
  virtual void unbatch() {}
  /// The arrays that hold the state, for evaluation and for saving.
  virtual std::vector<mx::array> arrays() const = 0;
  /// While it has seen no more tokens than this, each has one slot of arrays() (axis 2), in order, so that any stretch
  /// of them can be copied; 0: arrays() make sense as a whole only.
  virtual int addressable_tokens() const { return 0; }
  /// The slots that arrays() would get for so many tokens; 0 where there are none.
  virtual int slots_for(int /*tokens*/) const { return 0; }
  /// Puts `arrays` (evaluated, shaped as arrays(), nobody else's) in the place of what a cache of one row has seen: the
  /// row's first `tokens` tokens. Throws internal when their number is another.
  virtual void restore(std::vector<mx::array> arrays, int tokens) = 0;
  /// Bytes of arrays().
  size_t nbytes() const;

 protected:
  Cache(const Cache&) = default;
  std::vector<int> positions_;
};

/// The caches of a model: one per layer, kinds differ.
class ModelCache {
 public:
  ModelCache() = default;
  explicit ModelCache(std::vector<std::unique_ptr<Cache>> layers) : layers_(std::move(layers)) {}

  size_t size() const { return layers_.size(); }
  Cache& operator[](size_t layer) { return *layers_.at(layer); }
  const Cache& operator[](size_t layer) const { return *layers_.at(layer); }

  int rows() const { return layers_.empty() ? 0 : layers_.front()->rows(); }
  /// The tokens that each row has seen.
  const std::vector<int>& positions() const { return layers_.at(0)->positions(); }
  void expect(int tokens) {
    for (const auto& layer : layers_) layer->expect(tokens);
  }
  bool can_trim(int n) const;
  void trim(int n);
  ModelCache snapshot() const;
  /// As Cache::batch and unbatch, of every layer; there is at least one part.
  static ModelCache batch(std::span<ModelCache* const> parts);
  void unbatch();
  std::vector<mx::array> arrays() const;
  size_t nbytes() const;

 private:
  std::vector<std::unique_ptr<Cache>> layers_;
};

}  // namespace mlxk
