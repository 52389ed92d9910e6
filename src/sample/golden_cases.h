#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "json/json.h"
#include "worker/sampling.h"

// Reads tests/data/sample/*.json (tools/make_sampler_goldens.py); for the tests of this room.
namespace mlxk::golden {

inline std::vector<float> floats(const Json& list) {
  std::vector<float> values;
  for (const Json& x : list) values.push_back(x.is_null() ? -std::numeric_limits<float>::infinity() : x.get<float>());
  return values;
}

// A parameter that the goldens do not name is off.
inline Sampling sampling(const Json& json) {
  Sampling s;
  s.temperature = 0.8F;
  s.top_p = json.value("top_p", 1.0F);
  s.min_p = json.value("min_p", 0.0F);
  s.min_tokens_to_keep = json.value("min_tokens_to_keep", 1);
  s.top_k = json.value("top_k", 0);
  s.xtc_probability = json.value("xtc_probability", 0.0F);
  s.xtc_threshold = json.value("xtc_threshold", 0.0F);
  s.xtc_special_tokens = json.value("xtc_special_tokens", std::vector<int32_t>{});
  s.repetition_penalty = json.value("repetition_penalty", 1.0F);
  s.repetition_context_size = json.value("repetition_context_size", 20);
  s.presence_penalty = json.value("presence_penalty", 0.0F);
  s.presence_context_size = json.value("presence_context_size", 20);
  s.frequency_penalty = json.value("frequency_penalty", 0.0F);
  s.frequency_context_size = json.value("frequency_context_size", 20);
  s.logit_bias = json.value("logit_bias", std::vector<std::pair<int32_t, float>>{});
  s.seed = 1;
  return s;
}

}  // namespace mlxk::golden
