#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/model_kind.h"
#include "convert/source_tensors.h"
#include "json/json.h"

namespace mlxk {

/// A tensor of the result before anything is packed or cast: its name there, and its sources.
struct LayoutTensor {
  std::string name;
  std::vector<const SourceTensor*> parts;        // one; or one per expert, stacked along a new first axis
  bool stacked = false;                          // whether they are stacked
  bool is_matrix = true;                         // whether it may be packed
  std::shared_ptr<const SourceTensor> own = {};  // the one part, if it is computed

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

/// The tensors of a text model or encoder under the names of mlx-lm's modules and in their order, as the model_type's
/// maker of that kind takes them (models/checkpoint_tensors.h): tensors taken unchanged or stacked are read from the
/// files row by row, others are computed whole when they are written. Throws like checkpoint_tensors.
std::vector<LayoutTensor> lay_out(const Json& config, const SourceTensors& source, ModelKind kind);

}  // namespace mlxk
