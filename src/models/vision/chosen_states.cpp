#include "models/vision/chosen_states.h"

#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

constexpr auto kTowers = {"vision_tower.vision_model", "vision_tower", "model.vision_tower.vision_model",
                          "model.vision_tower", "vision_encoder"};

std::string tower_type(const Config& vision) { return vision.text_or("model_type", "clip_vision_model"); }

VisionConfig read_tower(const Config& config) {
  const Config vision = vision_config(config);
  const std::string type = tower_type(vision);
  if (type == "clip_vision_model") return VisionConfig::read(vision, kClipDefaults);
  if (type == "siglip_vision_model") return VisionConfig::read(vision, kSiglipDefaults);
  if (type == "pixtral") return PixtralTower::read(vision);
  throw Error(ErrorKind::unsupported, fmt::format("[{}] model_type '{}' is not built in", vision.place(), type));
}

/// Indices of states; 0 is the input of the first block.
std::vector<int> chosen_states(const Config& config, const VisionConfig& c, const Json& fallback) {
  const Json* said = config.find("vision_feature_layer");
  const Json list = said ? *said : fallback;
  std::vector<int> all;
  for (const Json& one : list.is_array() ? list : Json::array({list})) {
    const int64_t count = c.num_hidden_layers + 1;
    if (!one.is_number_integer() || one.get<int64_t>() < -count || one.get<int64_t>() >= count) {
      throw config.bad("vision_feature_layer",
                       fmt::format("must be in [{}, {}], got {}", -count, count - 1, one.dump()));
    }
    const int64_t i = one.get<int64_t>();
    all.push_back(static_cast<int>(i < 0 ? i + count : i));
  }
  if (all.empty()) throw config.bad("vision_feature_layer", "must not be empty");
  return all;
}

bool drops_first(const Config& config, const std::string& fallback) {
  const std::string strategy = config.text_or("vision_feature_select_strategy", fallback);
  if (strategy != "default" && strategy != "full") {
    throw config.bad("vision_feature_select_strategy", fmt::format("must be default or full, got {}", strategy));
  }
  return strategy == "default";
}

}  // namespace

ChosenStates::ChosenStates(const Config& config, Weights& weights, const Json& layer, const std::string& strategy)
    : c_(read_tower(config)), chosen_(chosen_states(config, c_, layer)), drops_first_(drops_first(config, strategy)) {
  const Config vision = vision_config(config);
  const std::string type = tower_type(vision);
  const int layers = *std::max_element(chosen_.begin(), chosen_.end());
  if (type == "pixtral") {
    drops_first_ = false;
    pixtral_.emplace(vision, c_, find_path(weights, kTowers, "patch_conv"), layers);
    return;
  }
  const WeightPath path = find_path(weights, kTowers, "embeddings.patch_embedding");
  if (type == "clip_vision_model") {
    clip_.emplace(c_, path, layers);
  } else {
    siglip_.emplace(c_, path, layers, false);
  }
}

mx::array ChosenStates::operator()(const mx::array& pixels, std::vector<mx::array>& stages) const {
  const auto states = clip_     ? clip_->states(pixels, stages)
                      : siglip_ ? siglip_->states(siglip_->embed(pixels, false), stages)
                                : pixtral_->states(pixels, stages);
  std::vector<mx::array> parts;
  for (const int i : chosen_) {
    const mx::array& x = states[static_cast<size_t>(i)];
    parts.push_back(drops_first_ ? mx::slice(x, {0, 1, 0}, x.shape()) : x);
  }
  return parts.size() == 1 ? parts.front() : mx::concatenate(parts, 2);
}

mx::array Projector::operator()(const mx::array& x, std::vector<mx::array>& stages) const {
  return by_rows(x, flops_of(up) + flops_of(down), stages, [&](const mx::array& rows) { return (*this)(rows); });
}

Activation projector_activation(const Config& config) {
  const std::string name = config.text_or("projector_hidden_act", "gelu");
  try {
    return read_activation(name);
  } catch (const Error&) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] projector_hidden_act '{}' is not built in", config.place(), name));
  }
}

WeightPath find_projector(Weights& weights, const std::string& probe) {
  return find_path(weights, {"multi_modal_projector", "model.multi_modal_projector", "vision_language_adapter"}, probe);
}

}  // namespace mlxk
