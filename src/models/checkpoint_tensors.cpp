#include "models/checkpoint_tensors.h"

#include <fmt/format.h>

#include "json/json.h"
#include "models/embedding/encoder_registry.h"
#include "models/published_packing.h"
#include "models/registry.h"
#include "probe/built_in.h"
#include "probe/limits.h"

namespace mlxk {

std::vector<Weights::Taken> checkpoint_tensors(const Json& json, Weights::Tensors tensors, ModelKind kind) {
  const Config unnamed(json, "config");
  const std::string type = unnamed.text_or("model_type", "");
  const bool encodes = kind == ModelKind::embedding;
  const Maker<Model> make_text = encodes ? nullptr : find_maker(type);
  const Maker<Encoder> make_encoder = encodes ? find_encoder_maker(type) : nullptr;
  if (!make_text && !make_encoder) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[config] model_type '{}' {}", type, built_in().refusal(kind, type)));
  }
  const Config config(json, type);
  check_config(json);
  unpack_float8(tensors);
  Weights weights(std::move(tensors), QuantizationConfig(config));
  weights.record();
  if (encodes) {
    make_encoder(config, weights);
  } else {
    make_text(config, weights);
  }
  weights.check();
  return weights.taken();
}

}  // namespace mlxk
