#include "probe/runnable.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "probe/built_in.h"
#include "probe/config_reader.h"
#include "probe/embedding_config.h"

namespace mlxk {

namespace {

bool has_safetensors(const ModelFiles& files) {
  return std::any_of(files.all().begin(), files.all().end(),
                     [](const ModelFile& file) { return has_extension(file, ".safetensors"); });
}

/// The formats of the oldest Whisper conversions, which say nowhere that they are MLX's.
bool is_npz_speech(const ModelInfo& info, const ModelFiles& files) {
  return info.audio_backend == AudioBackend::stt && files.has("weights.npz");
}

/// Weights under names that only older tools wrote: weights.NN.safetensors, pytorch_model-N.safetensors.
bool has_only_legacy_names(const ModelFiles& files) {
  bool legacy = false;
  for (const auto& file : files.all()) {
    if (!file.top_level() || !has_extension(file, ".safetensors")) continue;
    if (file.path.starts_with("model")) return false;
    legacy = legacy || file.path.starts_with("weights.") || file.path.starts_with("pytorch_model-");
  }
  return legacy;
}

/// The requirements of every modality.
Runnable judge_format(const ModelInfo& info, const ModelFiles& files) {
  // Plain Hugging Face safetensors load as they are; other formats must be converted.
  const bool readable =
      info.framework == "MLX" || (info.framework == "PyTorch" && has_safetensors(files)) || is_npz_speech(info, files);
  if (!readable) return {false, fmt::format("Incompatible framework: {}", info.framework)};
  return {true, ""};
}

/// Whether the model_type is built in as `kind`.
Runnable judge_type(const ModelInfo& info, ModelKind kind) {
  if (info.model_type.empty()) return {false, "config.json missing model_type field"};
  if (built_in().has(kind, info.model_type)) return {true, ""};
  return {false, fmt::format("{} model type '{}' {}", name_of(kind), info.model_type,
                             built_in().refusal(kind, info.model_type))};
}

Runnable judge_text(const ModelInfo& info, const ModelFiles& files) {
  if (has_only_legacy_names(files))
    return {false, "Legacy format not supported: the weights are not called model*.safetensors"};
  return judge_type(info, ModelKind::text);
}

/// Its type, and the files beside the transformer.
Runnable judge_embedding(const ModelInfo& info) {
  if (Runnable type = judge_type(info, ModelKind::embedding); !type.ok) return type;
  try {
    if (info.encoder_task == EncoderTask::embed) {
      read_embedding_config(info.ref.path);
    } else {
      read_classifier_config(read_json(info.ref.path / "config.json"));
    }
    return {true, ""};
  } catch (const Error& error) {
    return {false, error.what()};
  }
}

}  // namespace

void judge_runnable(ModelInfo& info, const ModelFiles& files) {
  const Runnable format = judge_format(info, files);
  const bool speaks = info.kind == "chat" || info.kind == "base";
  const auto unless = [&](bool applies, const char* otherwise, auto judge) {
    if (!applies) return Runnable{false, otherwise};
    return format.ok ? judge() : format;
  };
  info.text = unless(speaks, "the model generates no text", [&] { return judge_text(info, files); });
  const auto judge = [&](ModelKind kind) { return [&info, kind] { return judge_type(info, kind); }; };
  const ModelKind audio_kind = info.audio_backend == AudioBackend::stt ? ModelKind::speech : ModelKind::audio;
  info.vision = unless(info.is_vision, "no vision capability detected", judge(ModelKind::vision));
  info.audio = unless(info.is_audio, "no audio capability detected", judge(audio_kind));
  info.embedding = unless(info.is_embedding, "not an embedding model", [&] { return judge_embedding(info); });

  // A model runs when something it is for runs; a vision model's text part counts.
  if (info.is_embedding) {
    info.reason = info.embedding.reason;
  } else if (!speaks) {
    info.reason = info.audio.reason;
  } else if (!info.text.ok && !info.vision.ok && !info.audio.ok) {
    info.reason = info.text.reason;
  }
}

}  // namespace mlxk
