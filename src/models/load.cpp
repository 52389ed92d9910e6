#include "models/load.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "json/json.h"
#include "kernels/threads.h"
#include "models/registry.h"
#include "models/weight_files.h"
#include "probe/limits.h"

namespace mlxk {

namespace {

constexpr size_t kReadAhead = size_t{64} << 20;  // between two reports
constexpr size_t kPiece = size_t{4} << 20;       // that a thread reads at a time

/// Brings the files into memory, one after the other, as far as they are not there.
void read_ahead(const std::vector<std::shared_ptr<const MappedFile>>& files, const LoadProgress& progress) {
  size_t total = 0, done = 0;
  for (const auto& file : files) total += file->bytes().size();
  for (const auto& file : files) {
    for (auto rest = file->bytes(); !rest.empty();) {
      const auto part = rest.first(std::min(rest.size(), kReadAhead));
      parallel_for(static_cast<int64_t>((part.size() + kPiece - 1) / kPiece), 1, [&](int64_t begin, int64_t end, int) {
        for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
          file->fetch(part.subspan(i * kPiece, std::min(kPiece, part.size() - i * kPiece)));
        }
      });
      file->check();
      rest = rest.subspan(part.size());
      done += part.size();
      if (progress) progress(static_cast<int64_t>(done), static_cast<int64_t>(total));
    }
  }
}

}  // namespace

std::unique_ptr<Model> load_model(const std::filesystem::path& dir, const LoadProgress& progress) {
  Json json = read_json(dir / "config.json");
  if (!json.is_object()) throw Error(ErrorKind::bad_model, "[config] config.json must be an object");
  check_config(json);
  std::string type = Config(json, "config").text_or("model_type", "");
  ModelMaker make = find_maker(type);
  if (!make) {
    throw Error(ErrorKind::unsupported, fmt::format("[config] model_type '{}' is not built in", type),
                fmt::format("built in are {}", fmt::join(built_in_models(), ", ")));
  }
  Config config(std::move(json), type);
  QuantizationConfig quantization(config);
  auto [tensors, files] = open_weights(weight_files(dir));
  Weights weights(std::move(tensors), std::move(quantization));
  std::unique_ptr<Model> model = make(config, weights);
  weights.check();
  read_ahead(files, progress);
  const uint64_t bytes = weights.evaluate(files.empty() ? progress : LoadProgress());
  model->set_weights(bytes, std::move(files));
  return model;
}

}  // namespace mlxk
