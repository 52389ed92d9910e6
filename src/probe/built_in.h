#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/model_kind.h"

namespace mlxk {

/// The built-in architectures: the model_types of models/models.inc by kind, known without the engine. Vision and audio
/// models run text-only prompts too, so their types count as text as well; text decoders produce vectors too, so their
/// types count as embedding.
class BuiltIn {
 public:
  struct Row {
    ModelKind kind;
    std::string_view model_type;
  };
  explicit BuiltIn(std::vector<Row> rows) : rows_(std::move(rows)) {}

  bool has(ModelKind kind, std::string_view model_type) const;
  /// The model_types of `kind`, in the order of the rows.
  std::vector<std::string_view> of(ModelKind kind) const;
  /// The refusal of an unknown model_type: "is not built in (nearest: …); `mlxk list --architectures` lists what is".
  std::string refusal(ModelKind kind, std::string_view model_type) const;

 private:
  std::vector<Row> rows_;
};

/// Whether two spellings name the same model_type: hyphens count as underscores.
bool same_type(std::string_view a, std::string_view b);

/// The rows of models.inc, sorted within each kind.
const BuiltIn& built_in();

}  // namespace mlxk
