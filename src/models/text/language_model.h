#pragma once

#include <memory>
#include <string>

#include "models/model.h"
#include "nn/config.h"
#include "nn/weights.h"

namespace mlxk {

/// The language model of a multimodal checkpoint, for text-only prompts: the rest is not loaded.

/// Drops every tensor that does not belong to the language model. The others, and their entries in `quantization`, get
/// the names of a text checkpoint (model.…, lm_head.…), whichever prefix the checkpoint uses. Returns the language
/// model's configuration: text_config (or its equivalent), or `config` if all keys are at the top level.
Config keep_language_model(const Config& config, Weights& weights);

/// The model_type of text_config (or its equivalent), or else `fallback`.
std::string text_type(const Config& config, const char* fallback);

/// The language model as a model of model_type `type`; keys that text_config leaves out have the defaults of
/// transformers' class. Throws unsupported if `type` is not built in.
std::unique_ptr<Model> make_language_model(const Config& config, Weights& weights, const std::string& type);

}  // namespace mlxk
