#include "convert/convert_gguf.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "convert/config_file.h"
#include "convert/gguf_arch.h"
#include "convert/gguf_tokenizer.h"
#include "convert/gguf_weights.h"
#include "gguf/gguf.h"

namespace mlxk {

namespace {
const char* torch_name(mx::Dtype dtype) {
  if (dtype == mx::float16) return "float16";
  if (dtype == mx::bfloat16) return "bfloat16";
  return "float32";
}

/// A single id is written alone, several as a list.
Json id_or_list(const std::vector<int64_t>& ids) { return ids.size() == 1 ? Json(ids.front()) : Json(ids); }

void write_json(const fs::path& path, const Json& json) { write_file_atomic(path, json.dump(2) + "\n"); }
}  // namespace

ConvertReport convert_gguf(const fs::path& source, const ConvertOptions& options, const fs::path& folder,
                           const ProgressSink& progress) {
  ConvertReport report;
  const auto file = GgufFile::open(source);
  auto model = read_gguf_model(file, report.warnings);
  const auto tokenizer = read_gguf_tokenizer(file, report.warnings);
  if (tokenizer.size > model.vocab_rows) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[gguf] {}: {} tokens in tokenizer.ggml.tokens, token_embd.weight has {} rows",
                            file.place(), tokenizer.size, model.vocab_rows));
  }
  const auto weights = write_gguf_weights(model, options, folder, progress, report.warnings);
  file.check();

  auto& config = model.config;
  Json generation = Json::object();
  if (tokenizer.bos) generation["bos_token_id"] = *tokenizer.bos;
  if (!tokenizer.eos.empty()) generation["eos_token_id"] = id_or_list(tokenizer.eos);
  if (tokenizer.pad) generation["pad_token_id"] = *tokenizer.pad;
  config.update(generation);
  config["torch_dtype"] = torch_name(weights.dtype);
  set_quantization(config, weights.quantization);
  auto tokenizer_config = tokenizer.tokenizer_config;
  tokenizer_config["model_max_length"] = config["max_position_embeddings"];
  write_config(folder, config);
  write_json(folder / "tokenizer_config.json", tokenizer_config);
  write_file_atomic(folder / "tokenizer.json", tokenizer.tokenizer_json);
  if (!tokenizer.eos.empty()) write_json(folder / "generation_config.json", generation);
  report.mode = "gguf";
  report.model_type = model.model_type;
  report.quantization = options.recipe.empty() ? describe_quantization(weights.layers) : options.recipe;
  return report;
}

}  // namespace mlxk
