#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/model_kind.h"

namespace mlxk {

/// The built-in architectures: the model_types of models/models.inc by kind, known without the engine. A text-only
/// prompt runs on a vision model too, so its types count as text as well.
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
  /// "is not built in (nearest: …); `mlxk list --architectures` lists what is", for a model_type of `kind` that has()
  /// does not know.
  std::string refusal(ModelKind kind, std::string_view model_type) const;

 private:
  std::vector<Row> rows_;
};

/// Whether two spellings name one model_type: hyphens count as underscores.
bool same_type(std::string_view a, std::string_view b);

/// The rows of models.inc, sorted within each kind.
const BuiltIn& built_in();

}  // namespace mlxk
