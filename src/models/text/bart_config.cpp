#include "models/text/bart_config.h"

#include "json/json.h"

namespace mlxk {

DecoderConfig read_bart(const Config& bart, const std::string& half) {
  Json json = bart.json();
  const auto take = [&](const std::string& from, const char* to) {
    if (bart.has(from.c_str())) json[to] = bart.json()[from];
  };
  take("d_model", "hidden_size");
  take(half + "_layers", "num_hidden_layers");
  take(half + "_attention_heads", "num_attention_heads");
  take(half + "_ffn_dim", "intermediate_size");
  return DecoderConfig::read(Config(std::move(json), bart.place()), {.hidden_size = 1024,
                                                                     .num_hidden_layers = 12,
                                                                     .num_attention_heads = 16,
                                                                     .vocab_size = 50265,
                                                                     .intermediate_size = 4096,
                                                                     .max_position_embeddings = 1024,
                                                                     .norm_eps = 1e-5,
                                                                     .activation = "gelu"});
}

}  // namespace mlxk
