#pragma once

#include <memory>
#include <vector>

#include "models/vision/clip.h"
#include "models/vision/pixtral_tower.h"
#include "models/vision/siglip.h"

namespace mlxk {

/// The tower of LLaVA and similar models, of any type that vision_config names, and those of its states that
/// vision_feature_layer and vision_feature_select_strategy choose.
class ChosenStates {
 public:
  /// `layer`, `strategy`: the defaults without the keys.
  ChosenStates(const Config& config, Weights& weights, const Json& layer, const std::string& strategy);
  /// Pixels [1, H, W, 3] → [1, L, width()].
  mx::array operator()(const mx::array& pixels, std::vector<mx::array>& stages) const;
  int width() const { return c_.hidden_size * static_cast<int>(chosen_.size()); }
  const VisionConfig& config() const { return c_; }

 private:
  VisionConfig c_;
  std::vector<int> chosen_;
  bool drops_first_;
  std::optional<Clip> clip_;
  std::optional<Siglip> siglip_;
  std::optional<PixtralTower> pixtral_;
};

/// linear_2(act(linear_1(x))) at `path`, as most projectors are.
struct Projector {
  Projector(const WeightPath& path, int in, int wide, int out, Activation activation, bool bias,
            const char* first = "linear_1", const char* second = "linear_2")
      : up(path / first, in, wide, bias), down(path / second, wide, out, bias), activation(activation) {}
  mx::array operator()(const mx::array& x) const { return down(activate(activation, up(x))); }
  /// The same for rows [1, L, in], in pieces of the work.
  mx::array operator()(const mx::array& x, std::vector<mx::array>& stages) const;

  Linear up, down;
  Activation activation;
};

/// projector_hidden_act of `config`.
Activation projector_activation(const Config& config);

/// The paths of the projector of LLaVA and similar models.
WeightPath find_projector(Weights& weights, const std::string& probe);

}  // namespace mlxk
