#include "commands/convert_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/error.h"
#include "base/side_file.h"
#include "commands/drift_text.h"
#include "hub/cache.h"
#include "hub/resolve.h"
#include "hub/workspace.h"
#include "json/member.h"
#include "probe/built_in.h"
#include "terminal/output.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

namespace {
namespace fs = std::filesystem;

CommandFailure bad_flag(const std::string& message) { return {ErrorKind::invalid, "InvalidArgumentError", message}; }

/// A bare name is in the folder of workspaces, if there is one.
fs::path in_workspace_home(const std::string& word) {
  const auto home = workspace_home();
  if (!home || word.find('/') != std::string::npos || fs::exists(word)) return word;
  return *home / word;
}

void refuse_cache(const char* what, const fs::path& path) {
  if (is_within(fs::weakly_canonical(path), fs::weakly_canonical(hub_cache_dir()))) {
    throw CommandFailure(ErrorKind::invalid, "ValueError",
                         fmt::format("{} {} is in the Hugging Face cache", what, path.string()), nullptr,
                         "make a workspace of the model with `mlxk clone`, and convert that");
  }
}

/// `4` or `mixed_3_6`.
void read_quantize(const std::string& word, ConvertOptions& options) {
  if (word.rfind("mixed_", 0) == 0) {
    constexpr std::string_view kRecipes[] = {"mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"};
    if (std::find(std::begin(kRecipes), std::end(kRecipes), word) == std::end(kRecipes)) {
      throw bad_flag(fmt::format("--quantize must be {} (got {})", fmt::join(kRecipes, ", "), word));
    }
    options.recipe = word;
    return;
  }
  int bits = 0;
  const auto [end, failed] = std::from_chars(word.data(), word.data() + word.size(), bits);
  const bool known =
      failed == std::errc() && end == word.data() + word.size() && ((bits >= 2 && bits <= 6) || bits == 8);
  if (!known) throw bad_flag(fmt::format("--quantize must be 2, 3, 4, 5, 6, or 8 (got {})", word));
  options.quantize_bits = bits;
}

bool holds_safetensors(const fs::path& folder) {
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed)) {
    if (it->path().extension() == ".safetensors" && !is_side_file(it->path().filename().string())) return true;
  }
  return false;
}

void read_modes(const Args& args, ConvertRequest& request) {
  const bool quantize = args.has("--quantize"), dequantize = args.has("--dequantize");
  const bool index = args.has("--repair-index"), repair = args.has("--repair");
  if (index && quantize) throw bad_flag("--repair-index and --quantize are mutually exclusive");
  const char* first = nullptr;
  for (const char* flag : {"--quantize", "--dequantize", "--repair-index", "--repair"}) {
    if (!args.has(flag)) continue;
    if (first) throw bad_flag(fmt::format("{} and {} are mutually exclusive", first, flag));
    first = flag;
  }
  for (const char* flag : {"--q-group-size", "--q-mode"}) {
    if (args.has(flag) && !quantize) throw bad_flag(fmt::format("{} needs --quantize BITS", flag));
  }
  for (const char* flag : {"--dtype", "--check", "--max-kl", "--min-cosine"}) {
    if (args.has(flag) && (index || repair))
      throw bad_flag(fmt::format("{} and {} are mutually exclusive", first, flag));
  }
  const bool says = quantize || dequantize || index || repair || args.has("--dtype");
  if (!says && holds_safetensors(request.options.source)) {
    throw bad_flag(
        "Must specify conversion mode (--repair-index or --quantize N; also --dequantize, --dtype TYPE, --repair)");
  }
  if (index) request.task = ConvertRequest::Task::repair_index;
  if (repair) request.task = ConvertRequest::Task::repair;
}

/// Speech models cannot be converted; of multimodal models the language model can, if its own architecture is built in.
void refuse_multimodal(const fs::path& source) {
  std::error_code failed;
  if (!fs::is_regular_file(source / "config.json", failed)) return;
  const auto config = read_json(source / "config.json");
  if (!config.is_object()) return;
  const auto type = string_at(config, "model_type");
  if (type == "whisper" || type == "vibevoice" || type == "voxtral") {
    throw CommandFailure(ErrorKind::unsupported, "not_implemented",
                         fmt::format("Quantization of {} models is not implemented", type));
  }
  const auto has = [&](const char* key) { return config.contains(key) && config[key].is_object(); };
  const bool nested = has("text_config") || has("llm_config") || has("language_config") || type.ends_with("_vl");
  if (!(has("vision_config") || has("audio_config")) || (nested && built_in().has(ModelKind::text, type))) return;
  CommandFailure failure(ErrorKind::unsupported, "unsupported_multimodal",
                         fmt::format("Model type '{}' has vision or audio parts, which cannot be converted here", type),
                         nullptr, "mlxk list --architectures names the models whose language part can be converted");
  failure.set_extra({{"detail", {{"model_type", type}, {"operation", "convert"}, {"verified_types", {"gemma3"}}}},
                     {"retryable", false}});
  throw failure;
}

std::string repository_of(const fs::path& source) {
  const auto folder = fs::is_directory(source) ? source : source.parent_path();
  const auto sentinel = read_sentinel(folder.empty() ? fs::path(".") : folder);
  const auto repo = sentinel ? sentinel->value("source_repo", Json()) : Json();
  if (!repo.is_string()) return "";
  const auto& name = repo.get_ref<const std::string&>();
  const bool is_name = std::count(name.begin(), name.end(), '/') == 1 && name.front() != '.' && name.front() != '/' &&
                       name.back() != '/' && name.find_first_of(" \n\"'#:") == name.npos;
  return is_name ? name : "";
}

std::vector<int32_t> drift_tokens(const fs::path& folder) { return Tokenizer::load(folder)->encode(kDriftText, true); }

/// A text per paragraph.
std::vector<std::vector<int32_t>> drift_texts(const fs::path& folder) {
  const auto tokenizer = Tokenizer::load(folder);
  std::vector<std::vector<int32_t>> texts;
  std::string_view rest = kDriftText;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find("\n\n"), rest.size());
    texts.push_back(tokenizer->encode(rest.substr(0, end), true));
    rest.remove_prefix(std::min(rest.size(), end + 2));
  }
  return texts;
}
}  // namespace

ConvertRequest read_convert_request(const Args& args) {
  ConvertRequest request;
  auto& options = request.options;
  options.source = in_workspace_home(args.word("source"));
  options.target = in_workspace_home(args.word("target"));
  read_modes(args, request);
  if (args.has("--quantize")) read_quantize(args.text("--quantize"), options);
  options.mode = args.text("--q-mode");
  if (args.has("--q-group-size")) options.group_size = static_cast<int>(args.integer("--q-group-size"));
  options.dequantize = args.has("--dequantize");
  options.dtype = args.text("--dtype");
  options.max_shard_bytes = static_cast<uint64_t>(args.integer("--max-shard-mb")) << 20;
  options.check_health = !args.has("--skip-health");
  options.check_drift = args.has("--check") || args.has("--max-kl") || args.has("--min-cosine");
  if (args.has("--min-cosine")) options.min_cosine = args.number("--min-cosine");
  if (args.has("--max-kl")) options.max_kl = args.number("--max-kl");
  options.drift_tokens = drift_tokens;
  options.drift_texts = drift_texts;
  refuse_cache("source", options.source);
  refuse_cache("target", options.target);
  options.source_repo = repository_of(options.source);
  if (request.task == ConvertRequest::Task::convert) refuse_multimodal(options.source);
  return request;
}

}  // namespace mlxk
