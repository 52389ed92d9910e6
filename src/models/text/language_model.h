#pragma once

#include <memory>
#include <string>

#include "models/model.h"
#include "nn/config.h"
#include "nn/weights.h"

namespace mlxk {

/// The language model of a multimodal checkpoint, which answers prompts of text alone: the rest is not loaded.

/// Drops every tensor that is not the language model's. The others, and what `quantization` says of them, get the names
/// of a text checkpoint (model.…, lm_head.…), whichever prefix the tool that wrote them chose. Returns the language
/// model's configuration: text_config (or its like), or `config` where all keys lie on top.
Config keep_language_model(const Config& config, Weights& weights);

/// The model_type that text_config (or its like) has, or else `fallback`.
std::string text_type(const Config& config, const char* fallback);

/// The language model as one of model_type `type`; keys that text_config leaves out are those of transformers' class.
/// Throws unsupported where `type` is not built in.
std::unique_ptr<Model> make_language_model(const Config& config, Weights& weights, const std::string& type);

}  // namespace mlxk
