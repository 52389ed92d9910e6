#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "base/file.h"
#include "probe/classify.h"
#include "probe/config_reader.h"
#include "probe/files.h"
#include "probe/health.h"
#include "probe/limits.h"
#include "probe/model_info.h"
#include "probe/runnable.h"
#include "probe/weight_set.h"

namespace mlxk {

namespace {

/// The longest context, also of the text part of a multimodal configuration; 0 when nobody says.
int64_t context_length(const Json& config) {
  constexpr std::array kKeys = {"max_position_embeddings", "n_positions", "max_sequence_length",
                                "max_target_positions"};
  for (const Json* part : {&config, &value_at(config, "text_config"), &value_at(config, "language_config"),
                           &value_at(config, "llm_config"), &value_at(config, "decoder_config"),
                           &value_at(value_at(config, "thinker_config"), "text_config")}) {
    for (const char* key : kKeys) {
      const Json& value = value_at(*part, key);
      if (!value.is_number_integer()) continue;
      if (const auto length = value.get<int64_t>(); length > 0) return length;
    }
  }
  return 0;
}

/// Bytes of the weights that are loaded; if there are none, of all weights.
uint64_t weight_bytes(const ModelFiles& files) {
  uint64_t loaded = 0, top = 0, nested = 0;
  for (const ModelFile* file : weight_set(files)) loaded += file->size;
  if (loaded != 0) return loaded;
  for (const auto& file : files.all()) {
    if (is_weight_file(file)) (file.top_level() ? top : nested) += file.size;
  }
  return top ? top : nested;
}

std::vector<std::string> strings_of(const Json& list) {
  std::vector<std::string> strings;
  if (!list.is_array()) return strings;
  for (const auto& item : list) {
    if (item.is_string()) strings.push_back(item.get<std::string>());
  }
  return strings;
}

std::string quantization_of(const Json& config) {
  for (const char* key : {"quantization", "quantization_config"}) {
    const Json& value = value_at(config, key);
    if (value.is_object()) return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return {};
}

/// Why there is nothing to look at; empty when there is.
std::string missing_snapshot(const ModelRef& ref) {
  std::error_code error;
  if (!fs::is_directory(ref.path, error)) return "Model path does not exist";
  if (!ref.cached || !ref.revision.empty()) return {};
  return "No snapshots found: a download was interrupted; `mlxk pull` continues it";
}

/// `text` with the model's files by their paths in its folder.
std::string without_folder(std::string text, const fs::path& folder) {
  const std::string prefix = folder.string() + "/";
  for (size_t at = 0; (at = text.find(prefix, at)) != text.npos;) text.erase(at, prefix.size());
  return text;
}

void refuse(ModelInfo& info, const std::string& reason) {
  info.text = info.vision = info.audio = info.embedding = {false, reason};
  info.reason = reason;
}

Health judge_health(const ModelInfo& info, const ConfigFile& file, const ModelFiles& files) {
  if (auto reason = missing_snapshot(info.ref); !reason.empty()) return {false, std::move(reason)};
  if (!file.problem.empty()) return {false, file.problem};
  return check_files(info, files);
}

}  // namespace

ModelInfo probe_model(const ModelRef& ref) {
  ModelInfo info;
  info.ref = ref;
  const ModelFiles files(ref.path);
  const ConfigFile file = read_config(files, !ref.cached);
  info.config_valid = file.problem.empty();
  info.model_type = model_type_of(file.config);
  info.architectures = strings_of(value_at(file.config, "architectures"));
  info.framework = detect_framework(ref.name, file.config, files);
  info.context_length = context_length(file.config);
  info.weight_bytes = weight_bytes(files);
  if (string_at(value_at(file.config, "quantization_config"), "quant_method") == "fp8") {
    info.weight_bytes *= 2;  // they are multiplied out to bfloat16 when they are loaded
  }
  info.size_bytes = files.total_bytes();
  info.quantization = quantization_of(file.config);
  classify(info, file.config, files);

  Health health = judge_health(info, file, files);
  std::string unsupported;  // a complete model whose configuration requests something unsupported
  try {
    if (health.ok) check_config(file.config);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::unsupported) {
      unsupported = e.what();
    } else {
      health = {false, e.what()};
    }
  }
  info.healthy = health.ok;
  info.health_reason = without_folder(health.reason, ref.path);
  if (!info.healthy) {
    refuse(info, info.health_reason);
  } else if (!unsupported.empty()) {
    refuse(info, without_folder(unsupported, ref.path));
  } else {
    judge_runnable(info, files);
  }
  return info;
}

ModelKind ModelInfo::load_kind() const {
  if (audio_backend == AudioBackend::stt) return ModelKind::speech;
  if (is_embedding) return ModelKind::embedding;
  return vision.ok ? ModelKind::vision : audio.ok ? ModelKind::audio : ModelKind::text;
}

}  // namespace mlxk
