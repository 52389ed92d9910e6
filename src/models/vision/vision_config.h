#pragma once

#include <initializer_list>
#include <utility>

#include "kernels/activation.h"
#include "nn/config.h"

namespace mlxk {

/// The defaults for keys that a vision_config leaves out: those of the family's class in transformers.
struct VisionDefaults {
  int hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, image_size, patch_size;
  const char* activation = "gelu_pytorch_tanh";
  double eps = 1e-6;
};

/// The keys in the vision_config of nearly all families. Fields keep transformers' words.
struct VisionConfig {
  /// Throws bad_model or unsupported naming the key.
  static VisionConfig read(const Config& vision, const VisionDefaults& defaults);

  int hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, head_dim;
  int image_size, patch_size, channels;
  Activation activation;
  float eps;

  int grid() const { return image_size / patch_size; }  // patches of a side
};

/// An integer at `key` in [1, high], or the number that its list repeats ([448, 448]); throws bad_model for a list of
/// different numbers.
int read_side(const Config& config, const char* key, int fallback, int high);

/// `vision` with the value of each `from` copied to the key `to`, for families with other key names.
Config with_keys(const Config& vision, std::initializer_list<std::pair<const char*, const char*>> from_to);

/// The vision_config of a multimodal configuration; empty if it is absent.
Config vision_config(const Config& config);

/// rope_theta of a tower, at the top level or in rope_parameters.
double rope_theta(const Config& vision, double fallback);

/// hidden_size of the language model's configuration (text_config or its equivalent, or the top level), else
/// `fallback`.
int text_hidden_size(const Config& config, int fallback = 0);

}  // namespace mlxk
