#include "convert/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "base/staged_folder.h"
#include "base/timestamp.h"
#include "convert/convert_folder.h"
#include "convert/convert_gguf.h"
#include "convert/drift.h"
#include "convert/model_card.h"
#include "convert/quantizer.h"
#include "convert/recipe.h"
#include "hub/content_hash.h"
#include "hub/workspace.h"
#include "json/member.h"
#include "models/load.h"
#include "probe/built_in.h"
#include "probe/model_info.h"

namespace mlxk {

namespace {

/// The place of the model: a GGUF file, or a folder with config.json and the weights in it.
struct Source {
  fs::path folder;
  fs::path gguf;     // empty: weights of another kind
  fs::path weights;  // the one file that was named; empty: all in the folder
};

/// Recognises it by its first bytes.
bool is_gguf(const fs::path& path) {
  char magic[4] = {};
  std::ifstream(path, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

Source find_source(const fs::path& path) {
  if (!fs::exists(path)) throw Error(ErrorKind::not_found, fmt::format("{} does not exist", path.string()));
  if (!fs::is_directory(path)) {
    if (!fs::is_regular_file(path)) {
      throw Error(ErrorKind::io, fmt::format("{} is neither a file nor a folder", path.string()));
    }
    const auto folder = path.parent_path().empty() ? fs::path(".") : path.parent_path();
    if (path.extension() == ".gguf") return {folder, path, {}};
    if (is_weights_name(path.filename().string()) && is_workspace(folder)) return {folder, {}, path};
    if (is_weights_name(path.filename().string())) {
      throw Error(ErrorKind::not_found, fmt::format("there is no config.json beside {}", path.string()));
    }
    if (!is_gguf(path)) {
      throw Error(ErrorKind::bad_model, fmt::format("{} is neither a model folder nor a GGUF file", path.string()));
    }
    return {folder, path, {}};
  }
  if (is_workspace(path)) return {path, {}, {}};
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(path)) {
    const bool side = is_side_file(entry.path().filename().string());
    if (entry.path().extension() == ".gguf" && !side) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  if (found.size() > 1) {
    throw Error(ErrorKind::ambiguous, fmt::format("{} holds {} GGUF files", path.string(), found.size()),
                fmt::format("name one: {}", found.front().string()));
  }
  if (found.empty())
    throw Error(ErrorKind::not_found, fmt::format("{} holds neither config.json nor a GGUF file", path.string()));
  return {path, found.front(), {}};
}

void check_options(const ConvertOptions& options) {
  const bool packs = options.quantize_bits != 0 || !options.recipe.empty();
  if (packs) base_form(options);
  if (packs && options.dequantize) throw Error(ErrorKind::usage, "--quantize and --dequantize exclude each other");
  if (!options.dtype.empty() && !dtype_named(options.dtype)) {
    throw Error(ErrorKind::usage, fmt::format("--dtype must be float16, bfloat16 or float32 (got {})", options.dtype));
  }
}

ConvertReport write_model(const Source& source, const ConvertOptions& options, const fs::path& folder,
                          const ProgressSink& progress) {
  if (!source.gguf.empty()) return convert_gguf(source.gguf, options, folder, progress);
  return convert_folder(source.folder, SourceTensors(source.folder, source.weights), options, folder, progress);
}

/// A folder with the source's own weights that the loader can read: the source itself, or a conversion of it without
/// new quantisation.
fs::path reference_model(const Source& source, const ConvertOptions& options, StagedFolder& staged,
                         const ProgressSink& progress) {
  const bool as_it_is = source.gguf.empty() && source.weights.empty() && !SourceTensors::files(source.folder).foreign;
  if (as_it_is) return source.folder;
  ConvertOptions plain;
  plain.dtype = options.dtype;
  plain.dequantize = !source.gguf.empty();
  write_model(source, plain, staged.scratch(), progress);
  return staged.scratch();
}

ModelKind source_kind(const Source& source) { return source.gguf.empty() ? kind_of(source.folder) : ModelKind::text; }

/// Refuses a model that cannot be run before an hour of conversion. The architectures of GGUF files can be run.
void require_runnable(const Source& source) {
  if (!source.gguf.empty()) return;
  const auto type = string_at(read_json(source.folder / "config.json"), "model_type");
  if (built_in().has(source_kind(source), type)) return;
  throw Error(ErrorKind::unsupported,
              fmt::format("[check] model_type \"{}\" cannot be run here, so its drift is unknown", type),
              "convert without --check");
}

void check_drift(const Source& source, const ConvertOptions& options, StagedFolder& staged, ConvertReport& report,
                 const ProgressSink& progress) {
  const auto reference = reference_model(source, options, staged, progress);
  if (source_kind(source) == ModelKind::embedding) {
    const auto texts = options.drift_texts(staged.path());
    report.vector_drift = measure_vector_drift(reference, staged.path(), source.folder, texts, progress);
    if (report.vector_drift->min_cosine >= options.min_cosine) return;
    throw Error(ErrorKind::bad_model,
                fmt::format("[check] the smallest cosine is {:.6f}, below the limit of {:.6f}",
                            report.vector_drift->min_cosine, options.min_cosine),
                "use more bits or a smaller group size");
  }
  const auto tokens = options.drift_tokens(staged.path());
  report.drift = measure_drift(reference, staged.path(), tokens, progress);
  if (report.drift->mean_kl > options.max_kl) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[check] the mean KL divergence is {:.6f}, above the limit of {:.6f}",
                            report.drift->mean_kl, options.max_kl),
                "use more bits or a smaller group size");
  }
}

std::string read_card(const fs::path& folder) {
  std::error_code failed;
  const auto path = folder / "README.md";
  return fs::is_regular_file(path, failed) ? read_file(path, uint64_t{4} << 20) : std::string();
}

Json sentinel(const ConvertOptions& options, const Json& config, const std::string& mode) {
  Json json = {{"mlxk_version", MLXK_VERSION},
               {"created_at", utc_now()},
               {"source_repo", options.source_repo.empty() ? options.source.string() : options.source_repo},
               {"source_revision", nullptr},
               {"managed", true},
               {"operation", "convert"},
               {"mode", mode}};
  const auto quantization = config.find("quantization");
  if (quantization != config.end()) {
    json["quantization"] = {{"bits", quantization->at("bits")}, {"group_size", quantization->at("group_size")}};
  }
  return json;
}

void check_health(const fs::path& folder, ConvertReport& report) {
  const auto info = probe_model({.name = folder.string(), .path = folder, .cached = false});
  report.health_reason = info.health_reason;
  if (!info.healthy) {
    throw Error(ErrorKind::bad_model, fmt::format("[convert] the result is not healthy: {}", info.health_reason),
                "--skip-health writes it anyway");
  }
}
}  // namespace

ConvertReport convert_model(const ConvertOptions& options, const ProgressSink& progress) {
  check_options(options);
  const auto source = find_source(options.source);
  if (options.check_drift) require_runnable(source);
  StagedFolder staged(options.target);
  auto report = write_model(source, options, staged.path(), progress);
  if (options.check_drift) check_drift(source, options, staged, report, progress);
  auto target = fs::absolute(options.target).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  write_file_atomic(staged.path() / "README.md",
                    model_card(read_card(source.folder), {.title = target.filename().string(),
                                                          .base_model = options.source_repo,
                                                          .quantization = report.quantization,
                                                          .drift = report.drift,
                                                          .vector_drift = report.vector_drift,
                                                          .is_encoder = source_kind(source) == ModelKind::embedding}));
  if (options.check_health) check_health(staged.path(), report);
  write_sentinel(staged.path(), sentinel(options, read_json(staged.path() / "config.json"), report.mode));
  recalculate_content_hash(staged.path());
  staged.commit();
  return report;
}

}  // namespace mlxk
