#pragma once

#include <map>
#include <optional>
#include <string>

#include "mlx/array.h"
#include "nn/config.h"

namespace mlxk {

namespace mx = mlx::core;

/// How a weight is packed: MLX's mode with its bits and group size.
struct Quantization {
  int bits = 4;
  int group_size = 64;
  std::string mode = "affine";  // affine, mxfp4, mxfp8, nvfp4
};

/// config.json's `quantization`: what it says of single layers. The tensors themselves say the rest.
class QuantizationConfig {
 public:
  QuantizationConfig() = default;
  /// Reads `quantization` or else `quantization_config`; throws bad_model naming the key.
  explicit QuantizationConfig(const Config& config);

  /// The packing of the layer at `path`, read off its tensors: `in` columns packed in `weight` with `scales`. Throws
  /// bad_model when they do not fit together or contradict the layer's own entry.
  Quantization of(const std::string& path, const mx::array& weight, const mx::array& scales, int in) const;

  /// Once every layer was asked for: throws bad_model where the configuration's own bits, group_size or mode are those
  /// of no layer at all. (Some layers without an entry may differ: not every tool that mixes bits writes them all.)
  void check() const;

 private:
  /// What an entry says, as far as it does.
  struct Said {
    std::optional<int> bits, group_size;
    std::optional<std::string> mode;

    static Said read(const Config& entry);
    bool agrees(const Quantization& q) const;
    std::string text() const;
  };
  Said said_;                                          // of all layers
  mutable bool agreed_ = false;                        // a layer without an entry is packed as said_ has it
  mutable std::string contradiction_;                  // how the first one that is not is packed
  std::map<std::string, std::optional<Said>> layers_;  // nullopt: said not to be quantised
};

}  // namespace mlxk
