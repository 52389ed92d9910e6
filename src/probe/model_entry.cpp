#include "probe/model_entry.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>

#include "hub/workspace.h"
#include "probe/config_reader.h"
#include "probe/files.h"
#include "probe/health.h"

namespace mlxk {

namespace {

std::string utc(std::time_t time) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 40> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

/// Text, or null when it is empty.
Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

bool is_hash40(const std::string& text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
}

std::string file_type(const ModelFile& file) {
  const std::string name = lower_case(file.name());
  if (is_weight_file(file) || has_extension(file, ".npz")) return "weights";
  if (name.starts_with("readme")) return "readme";
  if (contains(name, "token") || name == "vocab.json" || name == "merges.txt" || name == "tekken.json")
    return "tokenizer";
  if (name.ends_with("config.json") || name.ends_with(".index.json")) return "config";
  return "other";
}

Json health_entry(const ModelInfo& info) {
  const ModelRef& ref = info.ref;
  return {{"name", ref.display_name.empty() ? ref.name : ref.display_name},
          {"status", info.healthy ? "healthy" : "unhealthy"},
          {"reason", info.health_reason}};
}

}  // namespace

std::string ModelEntry::content_hash() const { return sentinel ? string_at(*sentinel, "content_hash") : ""; }

ModelEntry describe_model(const ModelRef& ref) {
  ModelEntry entry;
  entry.info = probe_model(ref);
  struct stat info{};
  if (stat(ref.path.c_str(), &info) == 0) entry.modified = info.st_mtime;
  if (!ref.cached) {
    entry.sentinel = read_sentinel(ref.path);
    if (entry.sentinel) entry.clean = check_clean(ref.path);
  }
  return entry;
}

Json model_object(const ModelEntry& entry) {
  const ModelInfo& info = entry.info;
  const Json sentinel = entry.sentinel.value_or(Json());
  Json object = {
      {"name", info.ref.name},
      {"hash", is_hash40(info.ref.revision) ? Json(info.ref.revision) : Json(nullptr)},
      {"size_bytes", info.size_bytes},
      {"last_modified", utc(entry.modified)},
      {"framework", info.framework},
      {"model_type", info.kind},
      {"capabilities", info.capabilities},
      {"health", info.healthy ? "healthy" : "unhealthy"},
      {"runtime_compatible", info.healthy && info.reason.empty()},
      {"reason", text_or_null(info.reason)},
      {"cached", info.ref.cached},
      {"origin", text_or_null(string_at(sentinel, "source_repo"))},
      {"content_hash", text_or_null(entry.content_hash())},
      {"hash_modified", text_or_null(string_at(sentinel, "hash_modified"))},
      {"clean", entry.clean == Cleanliness::unknown ? Json(nullptr) : Json(entry.clean == Cleanliness::clean)},
  };
  if (!info.ref.display_name.empty()) object["display_name"] = info.ref.display_name;
  return object;
}

Json show_object(const ModelEntry& entry, const Json& config) {
  Json object = model_object(entry);
  const Json& quantization = value_at(config, "quantization");
  object["quantization"] = quantization.is_object() ? quantization : Json(nullptr);
  return object;
}

Json runtime_data(const ModelInfo& info) {
  const auto entry = [&](const Runnable& runnable) {
    const std::string& reason = info.healthy ? runnable.reason : info.health_reason;
    return Json{{"runs", info.healthy && runnable.ok}, {"reason", text_or_null(reason)}};
  };
  return {{"text", entry(info.text)},
          {"vision", entry(info.vision)},
          {"audio", entry(info.audio)},
          {"embedding", entry(info.embedding)}};
}

Json read_config_of(const ModelRef& ref) { return read_config(ModelFiles(ref.path), !ref.cached).config; }

Json config_metadata(const ModelInfo& info, const Json& config) {
  // A multimodal configuration keeps the decoder's numbers in its text part.
  const auto number = [&](const char* key) {
    const Json& top = value_at(config, key);
    return top.is_null() ? value_at(value_at(config, "text_config"), key) : top;
  };
  Json quantization = nullptr;
  for (const char* key : {"quantization_config", "quantization"}) {
    const Json& bits = value_at(value_at(config, key), "bits");
    if (bits.is_number_integer()) {
      quantization = fmt::format("{}bit", bits.dump());
      break;
    }
  }
  return {{"model_type", text_or_null(info.model_type)},
          {"architecture", info.architectures.empty() ? Json(nullptr) : Json(info.architectures.front())},
          {"quantization", quantization},
          {"context_length", info.context_length > 0 ? Json(info.context_length) : Json(nullptr)},
          {"vocab_size", number("vocab_size")},
          {"hidden_size", number("hidden_size")},
          {"num_attention_heads", number("num_attention_heads")},
          {"num_hidden_layers", number("num_hidden_layers")},
          {"weight_bytes", info.weight_bytes}};
}

Json file_list(const ModelRef& ref) {
  Json list = Json::array();
  const ModelFiles files(ref.path);
  for (const auto& file : files.all()) {
    list.push_back({{"name", file.name()}, {"size", human_size(file.size)}, {"type", file_type(file)}});
  }
  return list;
}

Json health_data(const std::vector<ModelInfo>& models) {
  Json healthy = Json::array(), unhealthy = Json::array();
  for (const auto& info : models) (info.healthy ? healthy : unhealthy).push_back(health_entry(info));
  const size_t good = healthy.size(), bad = unhealthy.size();
  return {{"healthy", std::move(healthy)},
          {"unhealthy", std::move(unhealthy)},
          {"summary", {{"total", good + bad}, {"healthy_count", good}, {"unhealthy_count", bad}}}};
}

std::string human_size(uint64_t bytes) {
  constexpr std::array kUnits = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return unit == 0 ? fmt::format("{}B", bytes) : fmt::format("{:.1f}{}", value, kUnits[unit]);
}

}  // namespace mlxk
