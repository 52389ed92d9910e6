#pragma once

#include <array>
#include <string_view>

namespace mlxk {

/// The kind of a loaded model. A vision model is a text model that accepts images too.
enum class ModelKind { text, vision, speech, embedding };

constexpr std::array kModelKinds{ModelKind::text, ModelKind::vision, ModelKind::speech, ModelKind::embedding};

/// "text", "vision", "speech", "embedding".
constexpr std::string_view name_of(ModelKind kind) {
  constexpr std::array<std::string_view, kModelKinds.size()> kNames{"text", "vision", "speech", "embedding"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace mlxk
