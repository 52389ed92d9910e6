#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/mapped_file.h"

namespace mlxk {

/// The shape of a loaded network, whose weight_bytes the loader sets, and the files that hold its weights.
template <class Shape>
class HeldWeights {
 public:
  const Shape& shape() const { return shape_; }
  /// Called once, by the loader: the weights' bytes, and the files that hold them.
  void set_weights(uint64_t bytes, std::vector<std::shared_ptr<const MappedFile>> files) {
    shape_.weight_bytes = bytes;
    files_ = std::move(files);
  }
  /// Throws io if a file could no longer be read, so that results computed so far may have missed weights.
  void check_weights() const {
    for (const auto& file : files_) file->check();
  }

 protected:
  explicit HeldWeights(Shape shape) : shape_(std::move(shape)) {}
  Shape shape_;

 private:
  std::vector<std::shared_ptr<const MappedFile>> files_;
};

}  // namespace mlxk
