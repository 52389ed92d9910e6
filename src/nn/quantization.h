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

/// config.json's `quantization`: the entries of single layers. Everything else is read from the tensors.
class QuantizationConfig {
 public:
  QuantizationConfig() = default;
  /// Reads `quantization` or else `quantization_config`; throws bad_model naming the key.
  explicit QuantizationConfig(const Config& config);

  /// The packing of the layer at `path`, derived from its tensors: `in` columns packed in `weight` with `scales`.
  /// Throws bad_model if they do not match each other or contradict the layer's own entry.
  Quantization of(const std::string& path, const mx::array& weight, const mx::array& scales, int in) const;

  /// Call this after every layer was asked for: throws bad_model if the configuration's own bits, group_size or mode
  /// are those of no layer at all. (Some layers without an entry may differ: not every tool that mixes bits writes all
  /// entries.)
  void check() const;

 private:
  /// The values that an entry gives.
  struct Said {
    std::optional<int> bits, group_size;
    std::optional<std::string> mode;

    static Said read(const Config& entry);
    bool agrees(const Quantization& q) const;
    std::string text() const;
  };
  Said said_;                                          // for all layers
  mutable bool agreed_ = false;                        // a layer without an entry was packed as said_ says
  mutable std::string contradiction_;                  // the packing of the first such layer that differs
  std::map<std::string, std::optional<Said>> layers_;  // nullopt: declared as not quantised
};

}  // namespace mlxk
