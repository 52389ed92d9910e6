#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/model_kind.h"
#include "hub/resolve.h"

namespace mlxk {

enum class AudioBackend { none, stt, multimodal, unknown };

/// The output of an encoder, or of a decoder trained as one, for a text: a vector, a score for a pair of texts, or
/// scores of labels.
enum class EncoderTask { none, embed, rerank, classify };

/// Whether one modality can run, and why not.
struct Runnable {
  bool ok = false;
  std::string reason;
};

/// Everything that Probe knows about a model without loading a weight or starting a device.
struct ModelInfo {
  ModelRef ref;
  std::string framework;   // MLX, GGUF, PyTorch, Unknown
  std::string model_type;  // config.json's
  std::string kind;        // chat, base, embedding, audio
  std::vector<std::string> architectures;
  std::vector<std::string> capabilities;  // text-generation, chat, vision, audio, audio-translate-en, embeddings,
                                          // rerank, classify, fill-mask
  bool is_vision = false, is_chat = false, is_embedding = false, is_audio = false, is_video = false;
  bool translates_to_english = false;
  bool needs_image = false;                      // its decoder reads nothing but an encoded image
  EncoderTask encoder_task = EncoderTask::none;  // not none: is_embedding
  bool fills_masks = false;                      // an embedding model that is also a masked language model
  AudioBackend audio_backend = AudioBackend::none;
  int64_t context_length = 0;  // 0: unknown
  uint64_t weight_bytes = 0;   // of the weight files that are loaded; 8-bit floats as multiplied out
  uint64_t size_bytes = 0;     // of all files
  std::string quantization;    // config's object as JSON text; empty: none
  bool config_valid = false;
  bool healthy = false;
  std::string health_reason;
  Runnable text, vision, audio, embedding;
  /// The first problem of the model's main modality; empty if it runs.
  std::string reason;

  /// The kind as which the engine loads the model.
  ModelKind load_kind() const;
};

/// Reads config.json, tokenizer and processor files and safetensors headers of `ref`; throws only io. Problems are
/// fields.
ModelInfo probe_model(const ModelRef& ref);

}  // namespace mlxk
