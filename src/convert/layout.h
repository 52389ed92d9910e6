#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "convert/source_tensors.h"
#include "json/json.h"

namespace mlxk {

/// A tensor of the result before anything is packed or cast: its name there, and what it is made of.
struct LayoutTensor {
  std::string name;
  std::vector<const SourceTensor*> parts;  // one; or one of each expert, stacked along a new first axis
  bool stacked = false;                    // whether they are

  const TensorEntry& entry() const { return parts.front()->entry; }
  std::vector<uint64_t> shape() const;
  uint64_t columns() const { return parts.front()->columns(); }
  uint64_t part_rows() const { return parts.front()->rows(); }
  uint64_t rows() const { return part_rows() * parts.size(); }
  /// The name without its last part: the path of the layer.
  std::string layer() const { return name.substr(0, name.rfind('.')); }
  /// The last part of the name: "weight", "scales" …
  std::string_view leaf() const { return std::string_view(name).substr(name.rfind('.') + 1); }
};

/// The model's tensors under the names and in the order of mlx-lm's modules: what a model does not use is left out,
/// experts are stacked. Throws unsupported for a model_type without a layout, bad_model naming a tensor that has no
/// place, a layer or an expert that is missing or misshapen.
std::vector<LayoutTensor> lay_out(const Json& config, const SourceTensors& source);

/// The model_types that have a layout, sorted.
std::vector<std::string_view> known_layouts();
bool has_layout(std::string_view model_type);

}  // namespace mlxk
