#include "probe/classify.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "json/json.h"
#include "probe/built_in.h"
#include "probe/chat_template_probe.h"
#include "probe/config_reader.h"
#include "probe/embedding_config.h"
#include "probe/front_matter.h"
#include "probe/safetensors_header.h"

namespace mlxk {

namespace {

constexpr std::array kVisionTypes = {"llava",  "llava_next", "pixtral", "qwen2_vl", "phi3_v",
                                     "mllama", "paligemma",  "idefics", "smolvlm"};
// Parts of the model_types of speech-to-text models, and of all models with audio input.
constexpr std::array kSpeechTokens = {"whisper", "vibevoice", "voxtral"};
constexpr std::array kAudioTokens = {"gemma3n", "gemma3n_audio", "voxtral", "whisper", "vibevoice", "audio"};
constexpr std::array kEncoderTypes = {
    "bert",       "distilbert", "roberta",   "xlm_roberta", "xlm_roberta_xl",     "camembert",
    "mpnet",      "electra",    "albert",    "deberta",     "deberta_v2",         "modernbert",
    "nomic_bert", "new",        "jina_bert", "gte",         "jina_embeddings_v3", "llama_bidirec"};
constexpr std::array kVisionFiles = {"preprocessor_config.json", "processor_config.json",
                                     "image_processor_config.json"};
constexpr std::array kEnglishOnlyWhispers = {"whisper-tiny.en", "whisper-base.en", "whisper-small.en",
                                             "whisper-medium.en"};

template <typename Names>
bool is_one_of(std::string_view text, const Names& names) {
  return std::find(names.begin(), names.end(), text) != names.end();
}

template <typename Names>
bool holds_one_of(std::string_view text, const Names& names) {
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return contains(text, name); });
}

/// Python's truth of a JSON value.
bool truthy(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.is_null() && !value.empty();
}

/// The input of the detectors, read once.
struct Evidence {
  std::string name;       // lower case
  std::string base_name;  // its last component
  std::string type;       // model_type, lower case
  const Json& config;
  Json preprocessor;  // preprocessor_config.json, or null
  const ModelFiles& files;
};

bool is_video_processor(const Json& preprocessor) {
  return string_at(preprocessor, "processor_class") == "AutoVideoProcessor" ||
         string_at(preprocessor, "video_processor_type") != "" ||
         !value_at(preprocessor, "temporal_patch_size").is_null();
}

bool detect_video(const Evidence& e) {
  return e.files.has("video_preprocessor_config.json") || is_video_processor(e.preprocessor) ||
         is_video_processor(value_at(e.config, "preprocessor_config"));
}

bool detect_vision(const Evidence& e, bool is_video) {
  if (has_object(e.config, "vision_config") || is_one_of(e.type, kVisionTypes)) return true;
  if (truthy(value_at(e.config, "image_processor"))) return true;
  if (is_video) return false;
  if (value_at(e.config, "preprocessor_config").is_object()) return true;
  return std::any_of(kVisionFiles.begin(), kVisionFiles.end(),
                     [&](const char* file) { return e.files.has_anywhere(file); });
}

bool hears_with_whisper(const Evidence& e) {
  return contains(lower_case(string_at(e.preprocessor, "feature_extractor_type")), "whisper");
}

/// Whether it is a text model that accepts audio and is built in as one. Some sizes of a vision model have no audio
/// encoder.
bool is_audio_llm(const Evidence& e) {
  return built_in().has(ModelKind::audio, e.type) &&
         (has_object(e.config, "audio_config") || !built_in().has(ModelKind::vision, e.type));
}

/// Whether it is built in as a speech model.
bool is_recogniser(const Evidence& e) { return built_in().has(ModelKind::speech, e.type); }

bool detect_audio(const Evidence& e) {
  return is_audio_llm(e) || is_recogniser(e) || has_object(e.config, "audio_config") ||
         holds_one_of(e.type, kAudioTokens) || hears_with_whisper(e);
}

AudioBackend detect_audio_backend(const Evidence& e) {
  const bool audio = has_object(e.config, "audio_config"), vision = has_object(e.config, "vision_config");
  if (is_audio_llm(e)) return AudioBackend::multimodal;
  if (is_recogniser(e) || contains(e.type, "voxtral")) return AudioBackend::stt;
  if (audio && vision) return AudioBackend::multimodal;
  if (contains(e.type, "whisper") || contains(e.type, "vibevoice") || hears_with_whisper(e)) return AudioBackend::stt;
  if (holds_one_of(e.base_name, kSpeechTokens)) return AudioBackend::stt;
  return audio ? AudioBackend::multimodal : AudioBackend::unknown;
}

/// For a sentence-transformers folder: its pooling, or the name of the whole model.
bool is_sentence_transformer(const ModelFiles& files) {
  return files.has("modules.json") &&
         (files.has("1_Pooling/config.json") || files.has("config_sentence_transformers.json"));
}

EncoderTask detect_encoder_task(const Evidence& e, const std::vector<std::string>& architectures) {
  const auto any = [&](const char* part) {
    return std::any_of(architectures.begin(), architectures.end(),
                       [&](const std::string& one) { return contains(one, part); });
  };
  const bool sentences = is_sentence_transformer(e.files);
  if (any("ForSequenceClassification") && !sentences) {
    return count_labels(e.config) == 1 ? EncoderTask::rerank : EncoderTask::classify;
  }
  const bool encodes = std::any_of(kEncoderTypes.begin(), kEncoderTypes.end(),
                                   [&](const char* type) { return same_type(type, e.type); });
  if (encodes || sentences) return EncoderTask::embed;
  const bool causal = e.type == "qwen3" || e.type == "mistral" || any("ForCausalLM");
  if (causal && contains(e.name, "rerank")) return EncoderTask::rerank;
  return causal && contains(e.name, "embed") ? EncoderTask::embed : EncoderTask::none;
}

bool translates(const Evidence& e) {
  if (e.type == "canary") return true;
  const bool turbo = contains(e.name, "whisper") && contains(e.name, "turbo");
  return e.type == "whisper" && !turbo && !holds_one_of(e.name, kEnglishOnlyWhispers);
}

/// Whether the weights are marked: MLX's tools write "format": "mlx" into the header.
bool weights_say_mlx(const ModelFiles& files) {
  const auto weights = std::find_if(files.all().begin(), files.all().end(), [](const ModelFile& file) {
    return file.top_level() && has_extension(file, ".safetensors");
  });
  if (weights == files.all().end()) return false;
  try {
    const auto metadata = read_safetensors_header(files.folder() / weights->path).metadata;
    const auto format = metadata.find("format");
    return format != metadata.end() && format->second == "mlx";
  } catch (const Error&) {
    return false;  // health reports it
  }
}

}  // namespace

std::string detect_framework(const std::string& name, const Json& config, const ModelFiles& files) {
  if (contains(name, "mlx-community/") || front_matter_says_mlx(files) || !value_at(config, "quantization").is_null()) {
    return "MLX";
  }
  if (weights_say_mlx(files)) return "MLX";
  const auto any = [&](const auto& matches) { return std::any_of(files.all().begin(), files.all().end(), matches); };
  if (any([](const ModelFile& file) { return has_extension(file, ".gguf"); })) return "GGUF";
  if (any([](const ModelFile& file) {
        return has_extension(file, ".safetensors") ||
               (has_extension(file, ".bin") && file.name().substr(0, 13) == "pytorch_model");
      })) {
    return "PyTorch";
  }
  return "Unknown";
}

void classify(ModelInfo& info, const Json& config, const ModelFiles& files) {
  // A workspace is named by its folder: the folders above it are irrelevant.
  const std::string name = lower_case(info.ref.cached ? info.ref.name : info.ref.path.filename().string());
  const Evidence e{name,
                   name.substr(name.rfind('/') + 1),
                   lower_case(info.model_type),
                   config,
                   read_json_object(files, "preprocessor_config.json"),
                   files};
  info.encoder_task = detect_encoder_task(e, info.architectures);
  info.is_embedding = info.encoder_task != EncoderTask::none;
  info.fills_masks = info.encoder_task == EncoderTask::embed &&
                     std::any_of(info.architectures.begin(), info.architectures.end(),
                                 [](const std::string& one) { return contains(one, "ForMaskedLM"); });
  const bool is_speech =
      !info.is_embedding && !is_audio_llm(e) && (is_recogniser(e) || holds_one_of(e.type, kSpeechTokens));
  info.is_video = detect_video(e);
  // Whisper's preprocessor_config.json describes audio, not images.
  info.is_vision = !info.is_embedding && !is_speech && !hears_with_whisper(e) && detect_vision(e, info.is_video) &&
                   (!is_audio_llm(e) || has_object(e.config, "vision_config"));
  info.needs_image = e.type == "florence2";
  info.is_audio = !info.is_embedding && detect_audio(e);
  if (info.is_audio) info.audio_backend = detect_audio_backend(e);
  info.translates_to_english = is_speech && translates(e);
  info.is_chat = !info.is_embedding && !is_speech &&
                 (e.type == "chat" || (is_audio_llm(e) && !info.is_vision) || is_one_of(e.type, kVisionTypes) ||
                  contains(e.name, "instruct") || contains(e.name, "chat") || has_chat_template(files));
  info.kind = info.is_embedding ? "embedding" : is_speech ? "audio" : info.is_chat ? "chat" : "base";

  if (info.is_embedding) {
    info.capabilities = {info.encoder_task == EncoderTask::embed    ? "embeddings"
                         : info.encoder_task == EncoderTask::rerank ? "rerank"
                                                                    : "classify"};
    if (info.fills_masks) info.capabilities.push_back("fill-mask");
  } else if (is_speech) {
    info.capabilities = {"audio"};
    if (info.translates_to_english) info.capabilities.push_back("audio-translate-en");
  } else {
    info.capabilities = {"text-generation"};
    if (info.is_chat) info.capabilities.push_back("chat");
    if (info.is_vision) info.capabilities.push_back("vision");
    if (info.is_audio) info.capabilities.push_back("audio");
  }
}

}  // namespace mlxk
