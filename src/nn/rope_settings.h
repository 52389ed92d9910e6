#pragma once

#include <string>
#include <vector>

#include "nn/config.h"

namespace mlxk {

/// A model's rotary embedding as config.json describes it, in any spelling.
struct RopeSettings {
  /// Reads rope_theta with rope_scaling, or transformers 5's rope_parameters (flat, or an object per layer type: the
  /// one named `layer_type`), for heads of `head_dim`. Without partial_rotary_factor (or rotary_pct) the fraction
  /// `default_partial` of a head is rotated. Throws bad_model or unsupported naming the key.
  static RopeSettings read(const Config& config, int head_dim, double default_theta, const std::string& layer_type = {},
                           double default_partial = 1);
  /// The rope of sliding layers with their own base: the object `layer_type` in rope_parameters, or else
  /// rope_local_base_freq (`default_theta` if absent) without scaling.
  static RopeSettings read_local(const Config& config, int head_dim, double default_theta,
                                 const std::string& layer_type);

  /// Rows up to this length are rotated independently of their length.
  int64_t position_stable_tokens() const;

  std::string type = "default";
  int dims = 0;              // rotated dimensions of a head
  int rotated = 0;           // proportional: the dimensions that are really rotated
  bool traditional = false;  // pairs are neighbours instead of halves
  double theta = 10000;
  double factor = 1;          // of the scaling
  int64_t max_positions = 0;  // 0: unknown
  int64_t original_positions = 0;
  double low_freq_factor = 1, high_freq_factor = 4;                      // llama3
  double beta_fast = 32, beta_slow = 1, mscale = 1, mscale_all_dim = 0;  // yarn
  double attention_factor = 0;                                           // yarn, longrope; 0: derived
  std::vector<float> short_factor, long_factor;                          // longrope
  std::vector<int> mrope_section;                                        // time, height, width
  bool mrope_interleaved = false;
};

}  // namespace mlxk
