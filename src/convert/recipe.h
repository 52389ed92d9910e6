#pragma once

#include <string>
#include <vector>

#include "convert/quantizer.h"
#include "json/json.h"
#include "worker/backend.h"

namespace mlxk {

/// The packing of a layer, and its entry in config.json (null: none, the model's form applies).
struct LayerForm {
  QuantForm form;
  Json entry;
};

/// The form of each layer: the requested one, that of a mixed recipe, or mlx-lm's exceptions for an architecture.
class QuantRecipe {
 public:
  /// For `options` and a model of that type with tensors `names`; throws usage naming the value, unsupported for a
  /// recipe on a model without down_proj.
  QuantRecipe(const ConvertOptions& options, std::string model_type, const std::vector<std::string>& names);

  /// The form of the model as a whole.
  const QuantForm& base() const { return base_; }
  LayerForm of(const std::string& layer) const;

 private:
  bool has_more_bits(const std::string& layer) const;

  QuantForm base_;
  std::string model_type_;
  int low_bits_ = 0, high_bits_ = 0;  // of a mixed recipe; 0: none
  size_t layer_at_ = 0;               // the index of the layer's number within a path
  int64_t layers_ = 0;
};

/// Whether mlx-lm has an array and no layer there, which its conversions never pack.
bool is_never_packed(std::string_view model_type, std::string_view layer);
/// Whether its conversions do not cast a tensor of that name.
bool is_kept_precise(std::string_view model_type, std::string_view name);

/// The form that `options` request as a whole: a recipe's is 4 bits, as in mlx-lm. Throws usage naming the value.
QuantForm base_form(const ConvertOptions& options);

}  // namespace mlxk
