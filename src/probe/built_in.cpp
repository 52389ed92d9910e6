#include "probe/built_in.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/nearest.h"

namespace mlxk {

bool BuiltIn::has(ModelKind kind, std::string_view model_type) const {
  return std::any_of(rows_.begin(), rows_.end(), [&](const Row& row) {
    const bool media = row.kind == ModelKind::vision || row.kind == ModelKind::audio;
    const bool sees_and_reads = kind == ModelKind::text && media;
    const bool decodes = kind == ModelKind::embedding && row.kind == ModelKind::text;
    return same_type(row.model_type, model_type) && (row.kind == kind || sees_and_reads || decodes);
  });
}

std::vector<std::string_view> BuiltIn::of(ModelKind kind) const {
  std::vector<std::string_view> names;
  for (const Row& row : rows_) {
    if (row.kind == kind) names.push_back(row.model_type);
  }
  return names;
}

std::string BuiltIn::refusal(ModelKind kind, std::string_view model_type) const {
  constexpr size_t kShown = 3;
  const auto like = nearest(model_type, of(kind), kShown);
  const std::string hint = like.empty() ? "" : fmt::format(" (nearest: {})", fmt::join(like, ", "));
  return fmt::format("is not built in{}; `mlxk list --architectures` lists what is", hint);
}

bool same_type(std::string_view a, std::string_view b) {
  const auto plain = [](char c) { return c == '-' ? '_' : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char left, char right) { return plain(left) == plain(right); });
}

const BuiltIn& built_in() {
  static const BuiltIn all({
#define MLXK_MODEL(kind, name) {ModelKind::kind, #name},
#include "models/models.inc"
  });
  return all;
}

}  // namespace mlxk
