#pragma once

#include <string>
#include <vector>

#include "convert/quantizer.h"
#include "json/json.h"
#include "worker/backend.h"

namespace mlxk {

/// How a layer is to be packed, and what config.json says of it by name (null: nothing, the model's form holds).
struct LayerForm {
  QuantForm form;
  Json entry;
};

/// Which form each layer gets: the one asked for, what a mixed recipe says, or the exceptions that mlx-lm makes for an
/// architecture.
class QuantRecipe {
 public:
  /// Of `options` for a model of that type whose tensors are `names`; throws usage naming the value, unsupported for a
  /// recipe on a model without down_proj.
  QuantRecipe(const ConvertOptions& options, std::string model_type, const std::vector<std::string>& names);

  /// Of the model as a whole.
  const QuantForm& base() const { return base_; }
  LayerForm of(const std::string& layer) const;

 private:
  bool has_more_bits(const std::string& layer) const;

  QuantForm base_;
  std::string model_type_;
  int low_bits_ = 0, high_bits_ = 0;  // of a mixed recipe; 0: none
  size_t layer_at_ = 0;               // where in a path the layer's number stands
  int64_t layers_ = 0;
};

/// Whether mlx-lm has an array and no layer there, which its conversions never pack.
bool is_never_packed(std::string_view model_type, std::string_view layer);
/// Whether its conversions leave a tensor of that name in the type that it has.
bool is_kept_precise(std::string_view model_type, std::string_view name);

/// The form that `options` ask for as a whole: a recipe's is 4 bits, as in mlx-lm. Throws usage naming the value.
QuantForm base_form(const ConvertOptions& options);

}  // namespace mlxk
