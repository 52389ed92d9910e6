#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "convert/layout.h"
#include "convert/quantizer.h"
#include "convert/recipe.h"
#include "worker/backend.h"

namespace mlxk {

/// The conversion of one tensor of a folder's model.
struct TensorPlan {
  enum class Way { copy, cast, pack };

  const LayoutTensor* tensor;
  Way way = Way::copy;
  const LayoutTensor* scales = nullptr;  // of a packed source that is unpacked first
  const LayoutTensor* biases = nullptr;
  QuantForm from, to;
  std::optional<mx::Dtype> unpack_as;  // its scales are cast to this type first
  mx::Dtype dtype = mx::float32;       // of the result, or of its scales
  std::vector<uint64_t> shape;         // of the weight, unpacked
  size_t index = 0;                    // of its first output tensor
};

/// The conversion of a folder's model, decided from names, shapes and config.json alone.
class FolderPlan {
 public:
  /// `options` as for convert_model; `layout` and `config` must outlive the plan. Throws usage, bad_model or
  /// unsupported, naming option, tensor or key.
  FolderPlan(const ConvertOptions& options, const Json& config, const std::vector<LayoutTensor>& layout,
             std::vector<std::string>& warnings);

  const std::vector<TensorPlan>& tensors() const { return plans_; }
  std::vector<OutputTensor> take_outputs() { return std::move(outputs_); }
  /// Elements of all weights, as counted in the index: a packed layer's as if it were unpacked.
  uint64_t parameters() const { return parameters_; }
  const std::map<std::string, QuantForm>& packed() const { return packed_; }
  /// config.json's `quantization`; null if nothing is packed.
  const Json& quantization() const { return quantization_; }

 private:
  void add(const LayoutTensor& tensor);
  void add_packed(TensorPlan plan, const LayerForm& form);
  void add_float(TensorPlan plan);
  void add_copy(TensorPlan plan);
  const LayoutTensor* find(const std::string& name) const;
  /// Whether there are no nested tensors: mlx-lm counts only the parameters of such modules.
  bool is_leaf(const std::string& module) const;
  QuantForm source_form(const std::string& layer) const;
  void warn_of_gain(int bits);

  const ConvertOptions& options_;
  const Json& config_;
  std::vector<std::string>& warnings_;
  std::map<std::string_view, const LayoutTensor*> by_name_;
  std::optional<QuantRecipe> recipe_;
  std::optional<mx::Dtype> cast_;
  std::string model_type_;
  bool keeps_packed_ = false;  // packed layers stay packed when others are packed again
  Json source_quantization_;
  std::vector<TensorPlan> plans_;
  std::vector<OutputTensor> outputs_;
  std::map<std::string, QuantForm> packed_;
  uint64_t parameters_ = 0;
  Json quantization_;
};

}  // namespace mlxk
