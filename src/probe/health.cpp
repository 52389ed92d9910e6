#include "probe/health.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "probe/built_in.h"
#include "probe/config_reader.h"
#include "probe/front_matter.h"
#include "probe/json_scan.h"
#include "probe/safetensors_header.h"
#include "probe/weight_index.h"
#include "probe/weight_set.h"

namespace mlxk {

namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{16} << 20;
constexpr std::string_view kPointerMark = "version https://git-lfs.github.com/spec/v1";
constexpr std::array kWeightIndexes = {kWeightIndexName, "pytorch_model.bin.index.json"};

/// A problem, or nothing.
using Problem = std::optional<std::string>;

std::string list_of(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

/// A file that git-lfs left in place of the real one.
bool is_lfs_pointer(const ModelFiles& files, const ModelFile& file) {
  if (file.size >= 200) return false;
  try {
    return contains(std::string_view(read_file(files.folder() / file.path, 200)).substr(0, 100), kPointerMark);
  } catch (const Error&) {
    return false;
  }
}

Problem find_lfs_pointers(const ModelFiles& files, const std::vector<const ModelFile*>& candidates) {
  std::vector<std::string> pointers;
  for (const ModelFile* file : candidates) {
    if (is_lfs_pointer(files, *file)) pointers.push_back(file->path);
  }
  if (pointers.empty()) return std::nullopt;
  return fmt::format("LFS pointers instead of files: {}", list_of(pointers));
}

Problem find_bad_header(const ModelFiles& files, const std::vector<const ModelFile*>& weights) {
  for (const ModelFile* file : weights) {
    if (!has_extension(*file, ".safetensors")) continue;
    try {
      read_safetensors_header(files.folder() / file->path);
    } catch (const Error& e) {
      return e.what();
    }
  }
  return std::nullopt;
}

/// The shards that an index names; a broken index is a problem.
struct IndexedShards {
  std::set<std::string> names;
  Problem problem;
};

IndexedShards read_shards(const ModelFiles& files, const char* index_name) {
  IndexedShards shards;
  if (std::string_view(index_name) == kWeightIndexes[0]) {
    try {
      for (const auto& [tensor, shard] : read_weight_index(files.folder() / index_name).shard_of)
        shards.names.insert(shard);
    } catch (const Error& e) {
      const bool empty = std::string_view(e.what()).ends_with("weight_map is missing or empty");
      shards.problem = empty ? "Empty or invalid weight_map in index" : fmt::format("Invalid index file: {}", e.what());
    }
    return shards;
  }
  const Json index = read_json_object(files, index_name);
  if (index.is_null()) {
    shards.problem = "Invalid index file";
  } else if (!has_object(index, "weight_map")) {
    shards.problem = "Empty or invalid weight_map in index";
  } else {
    for (const auto& [tensor, shard] : value_at(index, "weight_map").items()) {
      if (shard.is_string()) shards.names.insert(shard.get<std::string>());
    }
  }
  return shards;
}

Problem check_indexed(const ModelFiles& files, const char* index_name, std::string_view extension) {
  const IndexedShards shards = read_shards(files, index_name);
  if (shards.problem) return shards.problem;
  std::vector<const ModelFile*> present;
  std::vector<std::string> missing, empty;
  for (const auto& name : shards.names) {
    const ModelFile* file = files.find(name);
    if (!file) {
      missing.push_back(name);
    } else {
      present.push_back(file);
      if (file->size == 0) empty.push_back(name);
    }
  }
  if (!missing.empty()) {
    const auto others = std::count_if(files.all().begin(), files.all().end(), [&](const ModelFile& file) {
      return file.top_level() && has_extension(file, extension);
    });
    // Some of its shards present: a download that stopped. None, but other weights: an index of other files.
    if (present.empty() && others > 0) {
      return fmt::format(
          "Index/shard mismatch (mlx-vlm #624). Index references {} shards but found {} different files. "
          "Fix: mlxk convert <model> <output> --repair-index",
          shards.names.size(), others);
    }
    return fmt::format("Missing weight shards: {}", list_of(missing));
  }
  if (!empty.empty()) return fmt::format("Empty weight shards: {}", list_of(empty));
  if (auto pointers = find_lfs_pointers(files, present)) return pointers;
  return find_bad_header(files, present);
}

/// "model-00002-of-00005.safetensors" → {2, 5}.
std::optional<std::pair<int, int>> shard_numbers(std::string_view name) {
  const size_t of = name.rfind("-of-");
  const size_t dot = name.rfind('.');
  if (of == name.npos || dot == name.npos || dot < of) return std::nullopt;
  const size_t dash = name.rfind('-', of - 1);
  if (of == 0 || dash == name.npos) return std::nullopt;
  const auto number = [](std::string_view digits) {
    int value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc{} && end == digits.data() + digits.size() ? value : -1;
  };
  const int part = number(name.substr(dash + 1, of - dash - 1)), total = number(name.substr(of + 4, dot - of - 4));
  if (part < 0 || total <= 0) return std::nullopt;
  return std::pair{part, total};
}

Problem check_unindexed(const ModelInfo& info, const ModelFiles& files) {
  // The loaded weights count; if there are none, any weights.
  std::vector<const ModelFile*> weights = weight_set(files), nested;
  // Whisper models in the first MLX format have only an .npz; in other models an .npz does not count.
  if (info.audio_backend != AudioBackend::stt)
    std::erase_if(weights, [](const ModelFile* file) { return has_extension(*file, ".npz"); });
  if (weights.empty()) {
    for (const auto& file : files.all()) {
      if (is_weight_file(file)) (file.top_level() ? weights : nested).push_back(&file);
    }
  }
  if (weights.empty()) weights = nested;

  std::set<int> totals;
  std::set<int> parts;
  std::vector<std::string> empty_shards, empty_files;
  for (const ModelFile* file : weights) {
    const auto numbers = shard_numbers(file->name());
    if (numbers) {
      parts.insert(numbers->first);
      totals.insert(numbers->second);
    }
    if (file->size == 0) (numbers ? empty_shards : empty_files).push_back(file->path);
  }
  if (totals.size() > 1) return "Inconsistent shard totals detected";
  if (!totals.empty() && parts.size() < static_cast<size_t>(*totals.begin())) {
    return fmt::format("Missing shards by pattern: {}/{} present", parts.size(), *totals.begin());
  }
  if (!empty_shards.empty()) return fmt::format("Empty shards: {}", list_of(empty_shards));
  if (weights.empty()) return "No model weights found";
  if (files.has_unfinished()) return "Partial download marker detected";
  if (!empty_files.empty()) return fmt::format("Empty weight files: {}", list_of(empty_files));
  const bool sharded = std::any_of(weights.begin(), weights.end(), [](const ModelFile* file) {
    return has_extension(*file, ".safetensors") && shard_numbers(file->name());
  });
  if (sharded && *totals.begin() > 1) return "Safetensors index missing for sharded model";
  std::vector<const ModelFile*> needed = weights;
  for (const auto& file : files.all()) {
    if (!is_weight_file(file)) needed.push_back(&file);
  }
  if (auto pointers = find_lfs_pointers(files, needed)) return pointers;
  return find_bad_header(files, weights);
}

/// Checks a JSON file beside the weights, which may be absent, and empty if `may_be_empty`.
Problem check_json(const ModelFiles& files, std::string_view name, std::string_view broken, std::string_view wrong,
                   bool may_be_empty) {
  if (!files.has(name)) return std::nullopt;
  try {
    const fs::path path = files.folder() / name;
    const Json value = parse_json(read_file(path, kMaxConfigBytes), path.string());
    if (value.is_object() && (may_be_empty || !value.empty())) return std::nullopt;
    return fmt::format("{} {}", name, wrong);
  } catch (const Error&) {
    return fmt::format("{} {}", name, broken);
  }
}

/// The repository that has a file of an audio model that conversions often leave out.
std::string published_in(const ModelInfo& info, const ModelFiles& files) {
  constexpr std::pair<const char*, const char*> kSources[] = {
      {"canary", "nvidia/canary-1b-v2"},
      {"moonshine", "UsefulSensors/moonshine-base"},
      {"qwen2_audio", "Qwen/Qwen2-Audio-7B-Instruct"},
      {"qwen3_asr", "Qwen/Qwen3-ASR-1.7B"},
      {"sensevoice", "FunAudioLLM/SenseVoiceSmall"},
      {"vibevoice", "microsoft/VibeVoice-ASR-HF"},
      {"vibevoice_asr", "microsoft/VibeVoice-ASR-HF"},
      {"voxtral", "mistralai/Voxtral-Mini-3B-2507"},
  };
  if (std::string source = base_model_of(files); !source.empty()) return source;
  for (const auto& [type, source] : kSources) {
    if (info.model_type == type) return source;
  }
  return "the model that this one was converted from";
}

std::string missing_file(const ModelInfo& info, const ModelFiles& files, std::string_view what, std::string_view name) {
  return fmt::format("{} missing: {} is published in {}", what, name, published_in(info, files));
}

/// What SenseVoice reads beside its weights.
Problem check_sensevoice(const ModelInfo& info, const ModelFiles& files) {
  constexpr const char* kPieces = "chn_jpn_yue_eng_ko_spectok.bpe.model";
  if (!files.has("am.mvn")) return missing_file(info, files, "Features' mean and variance", "am.mvn");
  if (!files.has("tokens.json") && !files.has(kPieces)) return missing_file(info, files, "Tokenizer", kPieces);
  return std::nullopt;
}

/// Canary's tokenizer may have several names, one file for each language, or be inside config.json.
Problem check_canary(const ModelInfo& info, const ModelFiles& files) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tokens.txt"}) {
    if (files.has(name)) return std::nullopt;
  }
  const Json config = read_json_object(files, "config.json");
  const Json& tokenizer = value_at(config, "tokenizer");
  if (!string_at(tokenizer, "model_base64").empty()) return std::nullopt;
  const auto named = [](const Json& one) {
    std::string name = string_at(one, "model_path");
    return name.starts_with("nemo:") ? name.substr(5) : name;
  };
  std::vector<std::string> wanted;
  if (const Json& langs = value_at(tokenizer, "langs"); langs.is_object()) {
    for (const auto& [language, one] : langs.items()) wanted.push_back(named(one));
  }
  if (wanted.empty()) wanted.push_back(named(tokenizer));
  for (const std::string& name : wanted) {
    if (!files.has(name)) return missing_file(info, files, "Tokenizer", name.empty() ? "tokenizer.json" : name);
  }
  return std::nullopt;
}

Problem check_auxiliary(const ModelInfo& info, const ModelFiles& files) {
  if (info.is_vision) {
    if (!files.has("preprocessor_config.json") && !files.has("processor_config.json")) {
      return "Vision model missing preprocessor_config.json or processor_config.json";
    }
    for (const char* name : {"preprocessor_config.json", "processor_config.json"}) {
      if (auto problem = check_json(files, name, "invalid JSON", "invalid", false)) return problem;
    }
  }
  // Files that every run reads.
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json", "generation_config.json"}) {
    if (auto problem = check_json(files, name, "contains invalid JSON", "exists but invalid", true)) return problem;
  }
  if (files.has("tokenizer.json") && !is_whole_json_object(files.folder() / "tokenizer.json")) {
    return "tokenizer.json contains invalid JSON";
  }
  // SentencePiece and tiktoken models carry their vocabulary in a file of their own.
  const bool vocabulary = files.has("tokenizer.json") || files.has("tokenizer.model") || files.has("tekken.json") ||
                          std::any_of(files.all().begin(), files.all().end(),
                                      [](const ModelFile& file) { return has_extension(file, ".tiktoken"); }) ||
                          files.has("tiktoken.model");
  if (info.model_type == "sensevoice") return check_sensevoice(info, files);
  if (info.model_type == "canary") return check_canary(info, files);
  const bool needed = built_in().has(ModelKind::audio, info.model_type) || info.model_type == "moonshine";
  if (!vocabulary && needed) {
    return missing_file(info, files, "Tokenizer", info.model_type == "voxtral" ? "tekken.json" : "tokenizer.json");
  }
  if (!files.has("tokenizer_config.json")) return std::nullopt;
  if (!vocabulary) return "tokenizer_config.json present but tokenizer.json missing";
  return std::nullopt;
}

}  // namespace

ConfigFile read_config(const ModelFiles& files, bool is_workspace) {
  if (!files.has("config.json"))
    return {nullptr, is_workspace ? "No config.json found in workspace" : "config.json missing"};
  try {
    const fs::path path = files.folder() / "config.json";
    const std::string text = read_file(path, kMaxConfigBytes);
    if (text.empty()) return {nullptr, "config.json is empty or invalid"};
    Json config = parse_json(text, path.string());
    if (!config.is_object() || config.empty()) return {nullptr, "config.json is empty or invalid"};
    return {std::move(config), ""};
  } catch (const Error& e) {
    // Unreadable, too large, too deep: the message is shown unchanged.
    return {nullptr, contains(e.what(), "invalid JSON at byte") ? "config.json contains invalid JSON" : e.what()};
  }
}

Health check_files(const ModelInfo& info, const ModelFiles& files) {
  const auto verdict = [&](Problem problem, const char* success) {
    if (!problem) problem = check_auxiliary(info, files);
    return problem ? Health{false, *problem} : Health{true, success};
  };
  const auto any = [&](std::string_view extension) {
    return std::any_of(files.all().begin(), files.all().end(),
                       [&](const ModelFile& file) { return has_extension(file, extension); });
  };
  for (const char* index : kWeightIndexes) {
    const char* extension = index == kWeightIndexes[0] ? ".safetensors" : ".bin";
    if (index != kWeightIndexes[0] && !weight_set(files).empty()) break;  // those are loaded instead
    if (files.has(index) && any(extension)) {
      return verdict(check_indexed(files, index, extension), "Multi-file model complete");
    }
  }
  return verdict(check_unindexed(info, files), "Model is healthy");
}

}  // namespace mlxk
