// Multimodal models whose language model is a text model of its own, as transformers' classes of these names and mlx-lm
// run them without images: three equal axes of positions (M-RoPE) are plain positions.
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "models/text/language_model.h"
#include "models/text/mixture_config.h"

namespace mlxk {

#define MLXK_MULTIMODAL(name, type)                                            \
  std::unique_ptr<Model> make_##name(const Config& config, Weights& weights) { \
    return make_language_model(config, weights, type);                         \
  }
MLXK_MULTIMODAL(aya_vision, text_type(config, "cohere2"))
MLXK_MULTIMODAL(deepseekocr, "deepseek")  // plain attention, whatever text_config says
MLXK_MULTIMODAL(fastvlm, "qwen2")
MLXK_MULTIMODAL(idefics2, text_type(config, "mistral"))
MLXK_MULTIMODAL(idefics3, text_type(config, "llama"))
MLXK_MULTIMODAL(internvl, text_type(config, "qwen2"))
MLXK_MULTIMODAL(internvl_chat, text_type(config, "qwen2"))
MLXK_MULTIMODAL(kimi_vl, "deepseek_v3")
MLXK_MULTIMODAL(lfm2_vl, text_type(config, "lfm2"))
MLXK_MULTIMODAL(llava, text_type(config, "llama"))
MLXK_MULTIMODAL(llava_next, text_type(config, "llama"))
MLXK_MULTIMODAL(llava_onevision, text_type(config, "qwen2"))
MLXK_MULTIMODAL(llava_qwen2, "qwen2")
MLXK_MULTIMODAL(minicpmv4_6, text_type(config, "qwen3_5_text"))
MLXK_MULTIMODAL(mistral3, text_type(config, "mistral"))
MLXK_MULTIMODAL(paligemma, text_type(config, "gemma"))
MLXK_MULTIMODAL(phi3_v, "phi3")
MLXK_MULTIMODAL(pixtral, text_type(config, "mistral"))
MLXK_MULTIMODAL(qwen2_audio, text_type(config, "qwen2"))
MLXK_MULTIMODAL(qwen2_vl, "qwen2")
MLXK_MULTIMODAL(qwen2_5_vl, "qwen2")
MLXK_MULTIMODAL(qwen3_vl, "qwen3")
MLXK_MULTIMODAL(qwen3_vl_moe, "qwen3_moe")
MLXK_MULTIMODAL(smolvlm, text_type(config, "llama"))
MLXK_MULTIMODAL(voxtral, text_type(config, "llama"))
#undef MLXK_MULTIMODAL

// Its queries, keys and values have a bias, whatever text_config says.
std::unique_ptr<Model> make_glm4v(const Config& config, Weights& weights) {
  Json json = config.json();
  if (!config.has("text_config")) json["text_config"] = Json::object();
  json["text_config"]["attention_bias"] = true;
  return make_language_model(Config(std::move(json), config.place()), weights, "glm4");
}

namespace {

std::unique_ptr<Model> make_listening_vibevoice(const Config& config, Weights& weights) {
  const auto& tensors = weights.tensors();
  const bool speaks = std::any_of(tensors.begin(), tensors.end(), [](const auto& entry) {
    return entry.first.find("prediction_head.") != std::string::npos;
  });
  if (speaks) throw Error(ErrorKind::unsupported, "[vibevoice] a VibeVoice that speaks is not built in, only ASR");
  return make_language_model(config, weights, "qwen2");
}

}  // namespace

std::unique_ptr<Model> make_vibevoice(const Config& config, Weights& weights) {
  return make_listening_vibevoice(config, weights);
}

std::unique_ptr<Model> make_vibevoice_asr(const Config& config, Weights& weights) {
  return make_listening_vibevoice(config, weights);
}

// What is its own lies behind "thinker" in the published checkpoints.
std::unique_ptr<Model> make_qwen3_asr(const Config& config, Weights& weights) {
  strip_prefix(weights, "thinker.");
  const Config own = config.has("thinker_config") ? config.object("thinker_config") : config;
  return make_language_model(own, weights, "qwen3");
}

}  // namespace mlxk
