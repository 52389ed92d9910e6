#include "models/load.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "json/json.h"
#include "models/registry.h"
#include "models/weight_files.h"
#include "probe/limits.h"

namespace mlxk {

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
  Weights weights(load_tensors(weight_files(dir)), std::move(quantization));
  std::unique_ptr<Model> model = make(config, weights);
  model->set_weight_bytes(weights.finish(progress));
  return model;
}

}  // namespace mlxk
