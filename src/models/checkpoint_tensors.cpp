#include "models/checkpoint_tensors.h"

#include <fmt/format.h>

#include "json/json.h"
#include "models/published_packing.h"
#include "models/registry.h"
#include "probe/built_in.h"
#include "probe/limits.h"

namespace mlxk {

std::vector<Weights::Taken> checkpoint_tensors(const Json& json, Weights::Tensors tensors) {
  const Config unnamed(json, "config");
  const std::string type = unnamed.text_or("model_type", "");
  const Maker<Model> make = find_maker(type);
  if (!make) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[config] model_type '{}' {}", type, built_in().refusal(ModelKind::text, type)));
  }
  const Config config(json, type);
  check_config(json);
  unpack_float8(tensors);
  Weights weights(std::move(tensors), QuantizationConfig(config));
  weights.record();
  make(config, weights);
  weights.check();
  return weights.taken();
}

}  // namespace mlxk
