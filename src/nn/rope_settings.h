#pragma once

#include <string>
#include <vector>

#include "nn/config.h"

namespace mlxk {

/// A model's rotary embedding as config.json describes it, whatever the spelling.
struct RopeSettings {
  /// Reads rope_theta with rope_scaling, or transformers 5's rope_parameters (flat, or an object per layer type: then
  /// the one named `layer_type`), for heads of `head_dim`, of which without partial_rotary_factor (or rotary_pct) the
  /// part `default_partial` is rotated. Throws bad_model or unsupported naming the key.
  static RopeSettings read(const Config& config, int head_dim, double default_theta, const std::string& layer_type = {},
                           double default_partial = 1);
  /// The rope of sliding layers that have a base of their own: the object `layer_type` in rope_parameters, or else
  /// rope_local_base_freq (`default_theta` when absent) without scaling.
  static RopeSettings read_local(const Config& config, int head_dim, double default_theta,
                                 const std::string& layer_type);

  /// Up to so many tokens of a row, their rotation does not depend on how many there are.
  int64_t position_stable_tokens() const;

  std::string type = "default";
  int dims = 0;              // of the head, how many are rotated
  int rotated = 0;           // proportional: of dims, how many turn at all
  bool traditional = false;  // pairs are neighbours rather than halves
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
