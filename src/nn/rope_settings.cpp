#include "nn/rope_settings.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "json/json.h"

namespace mlxk {
namespace {

constexpr int64_t kMaxPositions = int64_t{1} << 31;

// The object that describes the scaling: rope_scaling, or rope_parameters, possibly one level deeper.
Config scaling_of(const Config& config, const std::string& layer_type) {
  if (config.has("rope_parameters")) {
    Config parameters = config.object("rope_parameters");
    bool nested = !layer_type.empty() && parameters.has(layer_type.c_str());
    if (nested) return parameters.object(layer_type.c_str());
    if (!config.has("rope_scaling")) return parameters;
  }
  return config.has("rope_scaling") ? config.object("rope_scaling") : Config(Json::object(), config.place());
}

std::vector<float> read_factors(const Config& scaling, const char* key, int pairs) {
  const Json* list = scaling.find(key);
  if (!list || !list->is_array()) throw scaling.bad(key, "must be a list of numbers");
  if (list->size() != static_cast<size_t>(pairs)) {
    throw scaling.bad(key, fmt::format("must have {} numbers, got {}", pairs, list->size()));
  }
  std::vector<float> factors;
  for (const auto& value : *list) {
    if (!value.is_number() || !(value.get<double>() > 0)) throw scaling.bad(key, "must hold positive numbers");
    factors.push_back(value.get<float>());
  }
  return factors;
}

void read_mrope(const Config& scaling, RopeSettings& rope) {
  const Json* list = scaling.find("mrope_section");
  if (!list) return;
  if (!list->is_array() || list->size() != 3) throw scaling.bad("mrope_section", "must be three whole numbers");
  int64_t sum = 0;
  for (const auto& value : *list) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > 4096) {
      throw scaling.bad("mrope_section", "must be three whole numbers");
    }
    rope.mrope_section.push_back(value.get<int>());
    sum += value.get<int>();
  }
  if (sum != rope.dims / 2) {
    throw scaling.bad("mrope_section", fmt::format("must add up to {}, got {}", rope.dims / 2, sum));
  }
  rope.mrope_interleaved = scaling.flag_or("mrope_interleaved", false);
}

std::string canonical_type(const std::string& type) {
  if (type == "deepseek_yarn" || type == "telechat3-yarn") return "yarn";
  if (type == "su") return "longrope";
  if (type == "mrope") return "default";
  return type;
}

void read_scaling(const Config& scaling, RopeSettings& rope) {
  constexpr double kHuge = 1e9;
  if (rope.type == "dynamic" && scaling.has("alpha")) {  // a base stretched once (Hunyuan)
    double alpha = scaling.number("alpha", 1e-3, kHuge);
    rope.theta *= std::pow(alpha, double(rope.dims) / (rope.dims - 2));
    rope.type = "default";
  }
  bool needs_factor = rope.type == "linear" || rope.type == "dynamic" || rope.type == "llama3" || rope.type == "yarn";
  if (needs_factor) rope.factor = scaling.number("factor", 1e-3, kHuge);
  if (rope.type == "dynamic" && rope.max_positions == 0) {
    throw scaling.bad("max_position_embeddings", "is needed by dynamic rope scaling");
  }
  if (rope.type == "longrope" && rope.max_positions == 0) rope.max_positions = rope.original_positions;
  if (rope.type == "llama3") {
    rope.low_freq_factor = scaling.number_or("low_freq_factor", 1, 1e-6, kHuge);
    rope.high_freq_factor = scaling.number_or("high_freq_factor", 4, 1e-6, kHuge);
    rope.original_positions = scaling.integer_or("original_max_position_embeddings", 8192, 1, kMaxPositions);
    if (rope.high_freq_factor == rope.low_freq_factor) {
      throw scaling.bad("high_freq_factor", "must differ from low_freq_factor");
    }
  } else if (rope.type == "yarn") {
    rope.original_positions = scaling.integer_or("original_max_position_embeddings", 4096, 1, kMaxPositions);
    rope.beta_fast = scaling.number_or("beta_fast", 32, 1e-6, kHuge);
    rope.beta_slow = scaling.number_or("beta_slow", 1, 1e-6, kHuge);
    rope.mscale = scaling.number_or("mscale", 1, 0, kHuge);
    rope.mscale_all_dim = scaling.number_or("mscale_all_dim", 0, 0, kHuge);
    rope.attention_factor = scaling.number_or("attention_factor", 0, 0, kHuge);
  } else if (rope.type == "longrope") {
    rope.short_factor = read_factors(scaling, "short_factor", rope.dims / 2);
    rope.long_factor = read_factors(scaling, "long_factor", rope.dims / 2);
    rope.attention_factor = scaling.number_or("attention_factor", 0, 0, kHuge);
    rope.factor = scaling.number_or("factor", 0, 0, kHuge);  // 0: max_positions / original_positions
  } else if (rope.type == "proportional") {
    rope.factor = scaling.number_or("factor", 1, 1e-3, kHuge);
  } else if (rope.type != "default" && rope.type != "linear" && rope.type != "dynamic") {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] rope type '{}' is not built in", scaling.place(), rope.type));
  }
  read_mrope(scaling, rope);
}

}  // namespace

RopeSettings RopeSettings::read(const Config& config, int head_dim, double default_theta, const std::string& layer_type,
                                double default_partial) {
  RopeSettings rope;
  Config scaling = scaling_of(config, layer_type);
  rope.type = canonical_type(scaling.text_or("type", scaling.text_or("rope_type", "default")));
  // A theta beside the scaling is the newer spelling and belongs more closely to the requested layer.
  if (config.has("rope_parameters")) {
    default_theta = config.object("rope_parameters").number_or("rope_theta", default_theta, 1, 1e12);
  }
  rope.theta = scaling.number_or(
      "rope_theta",
      config.number_or(config.has("rotary_emb_base") ? "rotary_emb_base" : "rope_theta", default_theta, 1, 1e12), 1,
      1e12);
  rope.max_positions = config.integer_or("max_position_embeddings", 0, 1, kMaxPositions);
  rope.traditional = config.flag_or("rope_traditional", false);
  const double own_partial =
      config.number_or("partial_rotary_factor", config.number_or("rotary_pct", default_partial, 0, 1), 0, 1);
  const double partial = scaling.number_or("partial_rotary_factor", own_partial, 0, 1);
  rope.rotated = static_cast<int>(head_dim * partial);
  rope.dims = rope.type == "proportional" ? head_dim : rope.rotated;
  if (rope.dims % 2 != 0 || rope.dims < 2) {
    throw Error(ErrorKind::bad_model, fmt::format("[rope] dims must be even and positive, got {}", rope.dims));
  }
  if (rope.type == "dynamic" && rope.dims < 4) throw config.bad("head_dim", "is too small for dynamic rope scaling");
  if (rope.type == "longrope") {
    const Config& source = scaling.has("original_max_position_embeddings") ? scaling : config;
    rope.original_positions = source.integer("original_max_position_embeddings", 2, kMaxPositions);
  }
  read_scaling(scaling, rope);
  return rope;
}

RopeSettings RopeSettings::read_local(const Config& config, int head_dim, double default_theta,
                                      const std::string& layer_type) {
  if (config.has("rope_parameters") && config.object("rope_parameters").has(layer_type.c_str())) {
    return read(config, head_dim, default_theta, layer_type);
  }
  Json plain = Json::object();
  plain["rope_theta"] = config.number_or("rope_local_base_freq", default_theta, 1, 1e12);
  return read(Config(std::move(plain), config.place()), head_dim, default_theta);
}

int64_t RopeSettings::position_stable_tokens() const {
  if (type == "dynamic") return max_positions;
  return type == "longrope" ? original_positions : std::numeric_limits<int64_t>::max();
}

}  // namespace mlxk
