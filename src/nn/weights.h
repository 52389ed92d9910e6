#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mlx/array.h"
#include "nn/quantization.h"

namespace mlxk {

namespace mx = mlx::core;

/// A checkpoint's tensors while a model is built: every layer takes its own by name. Missing, misshapen and unused
/// tensors are collected, so that one error can list them all.
class Weights {
 public:
  using Tensors = std::map<std::string, mx::array>;
  Weights(Tensors tensors, QuantizationConfig quantization);

  /// The tensors not taken yet; a model's sanitize step renames and reshapes them here.
  Tensors& tensors() { return tensors_; }
  /// Replaces the tensors not taken yet by `tensors`, and their packing entries by `quantization`.
  void replace(Tensors tensors, QuantizationConfig quantization);
  /// Drops the tensors whose name is `unwanted`.
  void drop(const std::function<bool(const std::string&)>& unwanted);
  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  /// Takes a float tensor of that shape, in the activations' type on CPU. A missing one is recorded and replaced by
  /// zeros.
  mx::array take(const std::string& name, const mx::Shape& shape) { return keep(take_shaped(name, shape)); }
  /// Takes a tensor unchanged; the caller passes it on to keep().
  mx::array take_raw(const std::string& name);
  /// Counts `tensor` among the model's weights, converted to the activations' type if it is a float and this is the
  /// CPU, and placed where libmlx may read it.
  mx::array keep(const mx::array& tensor);
  /// take() and keep() in the checkpoint's type, for weights that the CPU kernels read unchanged, at any address.
  mx::array take_as_stored(const std::string& name, const mx::Shape& shape) {
    return keep_as_stored(take_shaped(name, shape));
  }
  mx::array keep_as_stored(const mx::array& tensor);
  /// Takes `name` to compute tensors that layers need and the checkpoint does not have; compute() adds those. taken()
  /// lists `name` itself.
  mx::array take_to_compute(const std::string& name);
  void compute(const std::string& name, mx::array tensor);
  /// Takes the tensors whose name is `unused`: checkpoints have them, but no layer needs them.
  void take_unused(const std::function<bool(const std::string&)>& unused);

  /// A tensor of a checkpoint, before any cast.
  struct Taken {
    std::string name;
    mx::array tensor;
    bool is_matrix;  // may be packed
  };
  /// Records from now on which tensors are taken, for taken().
  void record() { records_ = true; }
  /// Records into `whole`, of which these tensors are a part: their names there begin with `prefix`.
  void record_as_part_of(const Weights& whole, const std::string& prefix);
  /// Call this after every layer has taken its tensors: the tensors of a checkpoint in mlx-lm's form. Throws
  /// unsupported if one of them was used by no layer, such as a tensor from take_raw() from which others are computed.
  std::vector<Taken> taken() const;

  /// Records a defect for check() to report.
  void note(const std::string& defect) { defects_.push_back(defect); }

  const QuantizationConfig& quantization() const { return quantization_; }
  /// The type that the model computes in: float32 on CPU, elsewhere the checkpoint's.
  mx::Dtype activation_type() const { return activation_type_; }
  /// Call this after every layer has taken its tensors: throws bad_model listing every missing, misshapen and unknown
  /// tensor (the first of each kind if there are many).
  void check() const;
  /// Evaluates everything that was kept and returns its bytes; tells `progress` the bytes done and the total.
  uint64_t evaluate(const std::function<void(int64_t, int64_t)>& progress = {}) const;

 private:
  mx::array take_shaped(const std::string& name, const mx::Shape& shape);

  Tensors tensors_;
  QuantizationConfig quantization_;
  mx::Dtype activation_type_;
  std::vector<mx::array> kept_;
  bool records_ = false;
  std::string prefix_;                                  // the prefix of the names that taken() returns
  std::vector<std::pair<std::string, mx::array>> raw_;  // each taken tensor, in order
  std::map<uintptr_t, bool> parts_;                     // ids of checkpoint tensors → Taken::is_matrix
  std::set<uintptr_t> computed_;                        // ids of tensors computed from those
  std::vector<std::string> missing_, defects_;
  std::map<uintptr_t, std::string> own_names_;  // ids of those taken to compute others
};

/// A place in the module tree: `layers` / 3 / `mlp`. A tensor's path is its checkpoint key.
class WeightPath {
 public:
  explicit WeightPath(Weights& weights, std::string path = {}) : weights_(&weights), path_(std::move(path)) {}
  WeightPath operator/(const std::string& part) const {
    return WeightPath(*weights_, path_.empty() ? part : path_ + "." + part);
  }
  WeightPath operator/(int index) const { return *this / std::to_string(index); }
  Weights& weights() const { return *weights_; }
  const std::string& path() const { return path_; }
  bool has(const std::string& name) const { return weights_->has((*this / name).path()); }
  /// Weights::take of the tensor `name` below this place.
  mx::array take(const std::string& name, const mx::Shape& shape) const {
    return weights_->take((*this / name).path(), shape);
  }

 private:
  Weights* weights_;
  std::string path_;
};

}  // namespace mlxk
