#include "models/registry.h"

#include <type_traits>

#include "probe/built_in.h"

namespace mlxk {
namespace {

template <class Net>
Maker<Net> find(std::string_view model_type) {
  Maker<Net> found = nullptr;
  const auto look = [&](std::string_view name, auto make) {
    if constexpr (std::is_same_v<decltype(make), Maker<Net>>) {
      if (same_type(name, model_type)) found = make;
    }
  };
#define MLXK_MODEL(kind, name) look(#name, &make_##name);
#include "models/models.inc"
  return found;
}

}  // namespace

Maker<Model> find_maker(std::string_view model_type) { return find<Model>(model_type); }

Maker<SpeechNet> find_speech_maker(std::string_view model_type) { return find<SpeechNet>(model_type); }

}  // namespace mlxk
