// Decoders as embedders and rerankers: Qwen3-Embedding and its reranker (https://arxiv.org/abs/2506.05176),
// EmbeddingGemma (https://arxiv.org/abs/2509.20354), E5-Mistral (https://arxiv.org/abs/2401.00368) and similar models.
#include "models/embedding/decoder_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "cpu/phase.h"
#include "json/json.h"
#include "mlx/ops.h"
#include "models/embedding/encoder_block.h"
#include "models/registry.h"
#include "nn/cache/packed_cache.h"

namespace mlxk {
namespace {

/// Which tokens a text's tokens see; w is a layer's window in config.json.
enum class Sight {
  causal,     // the latest w tokens, including its own
  both_ways,  // tokens up to w away
  centred,    // tokens up to w / 2 away
};

/// Decoders with plain attention, so that texts can be packed.
bool packs(std::string_view model_type) {
  constexpr std::string_view kTypes[] = {"gemma", "gemma3_text", "llama", "mistral", "qwen2", "qwen3", "smollm3"};
  return std::find(std::begin(kTypes), std::end(kTypes), model_type) != std::end(kTypes);
}

class DecoderEncoder : public Encoder {
 public:
  DecoderEncoder(EncoderShape shape, std::unique_ptr<Model> model, Sight sight, std::optional<Linear> score)
      : Encoder(std::move(shape)),
        model_(std::move(model)),
        sight_(sight),
        packs_(packs(model_->model_type()) && model_->position_stable_tokens() == std::numeric_limits<int64_t>::max()),
        score_(std::move(score)) {
    if (sight_ == Sight::causal || packs_) return;
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] bidirectional attention is not built in for it", model_->model_type()));
  }

 protected:
  // Decoders were not trained in float16 alone, so floats are multiplied as floats.
  mx::array encode(const EncoderInputs& inputs) const override {
    if (!inputs.attended.empty() && inputs.attended != inputs.lengths) {
      throw Error(ErrorKind::unsupported, fmt::format("[{}] unseen tokens are not built in", model_->model_type()));
    }
    const PhaseScope scope(Phase::prefill);
    if (packs_) return run(inputs.ids, packed_cache(inputs.lengths), inputs.lengths);
    std::vector<mx::array> texts;
    auto first = inputs.ids.begin();
    for (const int length : inputs.lengths) {
      texts.push_back(run({first, first + length}, model_->make_cache(1), {}));
      first += length;
    }
    return mx::concatenate(texts, 0);
  }

  mx::array classify(const mx::array& hidden, const std::vector<int>& lengths) const override {
    const PhaseScope scope(Phase::prefill);
    return (*score_)(take_rows(hidden, last_rows(lengths)));
  }
  mx::array predict_tokens(const mx::array& hidden) const override {
    const PhaseScope scope(Phase::prefill);
    return model_->logits(hidden);
  }
  mx::array weigh_tokens(const mx::array& hidden) const override { return hidden; }
  mx::array project_tokens(const mx::array& hidden) const override { return hidden; }

 private:
  /// Tokens [1, L] → [L, hidden]; `lengths` are those of packed texts.
  mx::array run(const std::vector<int>& ids, ModelCache cache, const std::vector<int>& lengths) const {
    const int count = static_cast<int>(ids.size());
    Inputs in{.ids = mx::array(ids.data(), {1, count}, mx::int32)};
    if (!lengths.empty()) in.positions = mx::expand_dims(packed_positions(lengths), 0);
    return mx::squeeze(model_->hidden(in, cache), 0);
  }

  ModelCache packed_cache(const std::vector<int>& lengths) const {
    const ModelCache own = model_->make_cache(1);
    std::vector<std::unique_ptr<Cache>> layers;
    for (size_t i = 0; i < own.size(); ++i) {
      const auto* attention = dynamic_cast<const AttentionCache*>(&own[i]);
      const int window = attention ? attention->geometry().window : 0;
      layers.push_back(std::make_unique<PackedCache>(lengths, sight_ == Sight::causal, window > 0 ? reach(window) : 0));
    }
    return ModelCache(std::move(layers));
  }

  /// A token sees only tokens less than this many positions away.
  int reach(int window) const {
    if (sight_ == Sight::causal) return window;
    return (sight_ == Sight::centred ? window / 2 : window) + 1;
  }

  std::unique_ptr<Model> model_;
  Sight sight_;
  bool packs_;
  std::optional<Linear> score_;
};

/// The model_type of the text decoder for a model_type that is only its bidirectional form.
std::string decoder_type(const std::string& model_type) { return model_type == "llama_bidirec" ? "llama" : model_type; }

}  // namespace

std::unique_ptr<Encoder> make_decoder_encoder(const Config& config, Weights& weights) {
  Json json = config.json();
  const std::string type = config.text_or("model_type", ""), own = decoder_type(type);
  Sight sight = config.flag_or("is_causal", own == type) ? Sight::causal : Sight::both_ways;
  if (config.flag_or("use_bidirectional_attention", false)) sight = Sight::centred;
  if (weights.has("embed_tokens.weight")) {
    Weights::Tensors renamed;
    for (auto& [name, tensor] : weights.tensors()) {
      const bool is_head = name.starts_with("lm_head.") || name.starts_with("score.");
      renamed.emplace(is_head ? name : "model." + name, std::move(tensor));
    }
    weights.tensors() = std::move(renamed);
  }
  if (own == "mistral" && config.has("sliding_window") && !config.has("layer_types")) {
    const auto layers = static_cast<size_t>(config.integer("num_hidden_layers", 1, 1024));
    json["layer_types"] = std::vector<std::string>(layers, "sliding_attention");
  }
  std::optional<Linear> score;
  const int hidden_size = static_cast<int>(config.integer_or("hidden_size", 0, 1, 1 << 20));
  if (const int labels = rows_at(WeightPath(weights) / "score"); labels > 0 && hidden_size > 0) {
    score = linear_at(WeightPath(weights) / "score", hidden_size, labels);
  }
  if (!weights.has("lm_head.weight")) json["tie_word_embeddings"] = true;
  json["model_type"] = own;
  std::unique_ptr<Model> model = find_maker(own)(Config(std::move(json), config.place()), weights);
  EncoderShape shape{type, static_cast<int>(model->vocab_size()), static_cast<int>(model->hidden_size()),
                     static_cast<int>(model->num_layers()), model->context_length()};
  shape.predicts_tokens = true;
  if (score) shape.num_labels = score->out();
  return std::make_unique<DecoderEncoder>(std::move(shape), std::move(model), sight, std::move(score));
}

std::unique_ptr<Encoder> make_llama_bidirec(const Config& config, Weights& weights) {
  return make_decoder_encoder(config, weights);
}

}  // namespace mlxk
