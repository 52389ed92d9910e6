#include "models/registry.h"

#include <type_traits>

#include "models/embedding/decoder_encoder.h"
#include "models/embedding/encoder_registry.h"
#include "probe/built_in.h"

namespace mlxk {

#define MLXK_MAKER_text(name) std::unique_ptr<Model> make_##name(const Config& config, Weights& weights)
#define MLXK_MAKER_vision(name) \
  std::unique_ptr<MediaEncoder> make_##name##_vision(const Config& config, Weights& weights)
#define MLXK_MAKER_audio(name) std::unique_ptr<MediaEncoder> make_##name##_audio(const Config& config, Weights& weights)
#define MLXK_MAKER_speech(name) std::unique_ptr<SpeechNet> make_##name(const Config& config, Weights& weights)
#define MLXK_MAKER_embedding(name) std::unique_ptr<Encoder> make_##name(const Config& config, Weights& weights)
#define MLXK_MODEL(kind, name) MLXK_MAKER_##kind(name);
#include "models/models.inc"

namespace {

template <class Net>
Maker<Net> find(ModelKind kind, std::string_view model_type) {
  Maker<Net> found = nullptr;
  const auto look = [&](ModelKind of, std::string_view name, auto make) {
    if constexpr (std::is_same_v<decltype(make), Maker<Net>>) {
      if (of == kind && same_type(name, model_type)) found = make;
    }
  };
#define MLXK_MAKER_OF_text(name) &make_##name
#define MLXK_MAKER_OF_vision(name) &make_##name##_vision
#define MLXK_MAKER_OF_audio(name) &make_##name##_audio
#define MLXK_MAKER_OF_speech(name) &make_##name
#define MLXK_MAKER_OF_embedding(name) &make_##name
#define MLXK_MODEL(kind, name) look(ModelKind::kind, #name, MLXK_MAKER_OF_##kind(name));
#include "models/models.inc"
  return found;
}

}  // namespace

Maker<Model> find_maker(std::string_view model_type) { return find<Model>(ModelKind::text, model_type); }

Maker<MediaEncoder> find_vision_maker(std::string_view model_type) {
  return find<MediaEncoder>(ModelKind::vision, model_type);
}

Maker<MediaEncoder> find_audio_maker(std::string_view model_type) {
  return find<MediaEncoder>(ModelKind::audio, model_type);
}

Maker<SpeechNet> find_speech_maker(std::string_view model_type) {
  return find<SpeechNet>(ModelKind::speech, model_type);
}

Maker<Encoder> find_encoder_maker(std::string_view model_type) {
  const auto found = find<Encoder>(ModelKind::embedding, model_type);
  return found || !find_maker(model_type) ? found : &make_decoder_encoder;
}

}  // namespace mlxk
