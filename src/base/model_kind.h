#pragma once

#include <array>
#include <string_view>

namespace mlxk {

/// The kind of a loaded model. A vision model is a text model that accepts images too, an audio model one that accepts
/// recordings; loaded as either, it accepts every medium that it can.
enum class ModelKind { text, vision, audio, speech, embedding };

constexpr std::array kModelKinds{ModelKind::text, ModelKind::vision, ModelKind::audio, ModelKind::speech,
                                 ModelKind::embedding};

/// "text", "vision", "audio", "speech", "embedding".
constexpr std::string_view name_of(ModelKind kind) {
  constexpr std::array<std::string_view, kModelKinds.size()> kNames{"text", "vision", "audio", "speech", "embedding"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace mlxk
