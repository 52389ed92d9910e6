#include "models/text/tensor_names.h"

#include <fmt/format.h>

namespace mlxk {

void rename_tensors(Weights& weights, std::initializer_list<std::pair<std::string_view, std::string_view>> parts) {
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    std::string to = name;
    for (const auto& [from, as] : parts) {
      if (const size_t at = to.find(from); at != std::string::npos) to.replace(at, from.size(), as);
    }
    if (renamed.count(to) != 0) weights.note(fmt::format("{} occurs twice, once as {}", to, name));
    renamed.emplace(std::move(to), std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
}

}  // namespace mlxk
