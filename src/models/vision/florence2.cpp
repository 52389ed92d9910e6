// Florence-2 (https://arxiv.org/abs/2311.06242; transformers' florence2): DaViT (https://arxiv.org/abs/2204.03645),
// whose stages alternate attention in windows and attention of channels to each other, a projector, and BART's encoder
// (https://arxiv.org/abs/1910.13461) for the prompt with the image's features in it. Pixels are [1, S, S, 3]. Tensor
// names are transformers' or Microsoft's, which mlx-vlm kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/prompt_encoder.h"
#include "models/registry.h"
#include "models/text/bart_config.h"
#include "models/text/tensor_names.h"
#include "models/vision/conv_layer.h"
#include "models/vision/parts.h"
#include "models/vision/vision_config.h"
#include "nn/attention.h"
#include "nn/encoder_attention.h"
#include "nn/mlp.h"

namespace mlxk {
namespace {

constexpr float kDavitEps = 1e-5F;
constexpr int kMaxWidth = 1 << 16;

/// The list of numbers in [1, high] at `key`, one for each of `count` stages; `usual` without the key.
std::vector<int> numbers(const Config& vision, const char* key, std::vector<int> usual, size_t count, int high) {
  const Json* list = vision.find(key);
  if (list) {
    if (!list->is_array()) throw vision.bad(key, "must be a list");
    usual.clear();
    for (const Json& one : *list) {
      const bool fits = one.is_number_integer() && one.get<int64_t>() >= 1 && one.get<int64_t>() <= high;
      if (!fits) throw vision.bad(key, fmt::format("must hold numbers in [1, {}], got {}", high, one.dump()));
      usual.push_back(one.get<int>());
    }
  }
  if (count != 0 && usual.size() != count) {
    throw vision.bad(key, fmt::format("must have an entry for each of {} stages, got {}", count, usual.size()));
  }
  return usual;
}

/// A stage of the tower.
struct DavitStage {
  int depth, side, stride, width, heads, groups;
  bool norm_first;
};

struct DavitConfig {
  explicit DavitConfig(const Config& vision);

  std::vector<DavitStage> stages;
  int window, projection, positions, times;
  double mlp_ratio;
  bool qkv_bias;
  Activation activation;
};

DavitConfig::DavitConfig(const Config& vision) {
  // Microsoft's dim_embed is transformers' embed_dim.
  const auto widths = numbers(vision, vision.present({"embed_dim", "dim_embed"}), {128, 256, 512, 1024}, 0, kMaxWidth);
  const size_t count = widths.size();
  if (count == 0) throw vision.bad("embed_dim", "must not be empty");
  const auto list = [&](const char* key, std::vector<int> usual, int high) {
    return numbers(vision, key, std::move(usual), count, high);
  };
  const auto depths = list("depths", {1, 1, 9, 1}, 256), sides = list("patch_size", {7, 3, 3, 3}, 63),
             strides = list("patch_stride", {4, 2, 2, 2}, 64), paddings = list("patch_padding", {3, 1, 1, 1}, 32),
             heads = list("num_heads", {4, 8, 16, 32}, 1024), groups = list("num_groups", {4, 8, 16, 32}, 1024);
  const Json first = vision.has("patch_prenorm") ? *vision.find("patch_prenorm") : Json{false, true, true, true};
  if (!first.is_array() || first.size() != count ||
      !std::all_of(first.begin(), first.end(), [](const Json& one) { return one.is_boolean(); })) {
    throw vision.bad("patch_prenorm", fmt::format("must be a list of {} true or false", count));
  }
  for (size_t i = 0; i < count; ++i) {
    if (sides[i] % 2 == 0 || paddings[i] != sides[i] / 2) {
      throw vision.bad("patch_padding",
                       fmt::format("must be half of an odd patch_size, got {} for {}", paddings[i], sides[i]));
    }
    if (widths[i] % heads[i] != 0 || widths[i] % groups[i] != 0) {
      throw vision.bad("embed_dim", fmt::format("must be multiples of num_heads and num_groups, got {} for {} and {}",
                                                widths[i], heads[i], groups[i]));
    }
    stages.push_back({depths[i], sides[i], strides[i], widths[i], heads[i], groups[i], first[i].get<bool>()});
  }
  window = static_cast<int>(vision.integer_or("window_size", 12, 1, 1024));
  projection = static_cast<int>(vision.integer_or("projection_dim", 1024, 1, kMaxWidth));
  const auto nested = [&](const char* object, const char* key, const char* flat, int64_t usual) {
    const bool has = vision.has(object);
    return static_cast<int>(has ? vision.object(object).integer_or(key, usual, 1, 1 << 16)
                                : vision.integer_or(flat, usual, 1, 1 << 16));
  };
  positions = nested("image_pos_embed", "max_pos_embeddings", "max_position_embeddings", 50);
  times = nested("visual_temporal_embedding", "max_temporal_embeddings", "max_temporal_embeddings", 100);
  const Json sources = {"spatial_avg_pool", "temporal_avg_pool"};
  if (const Json* given = vision.find("image_feature_source"); given && *given != sources) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] image_feature_source {} is not built in", vision.place(), given->dump()));
  }
  mlp_ratio = vision.number_or("mlp_ratio", 4, 0.01, 64);
  qkv_bias = vision.flag_or("qkv_bias", true);
  activation = read_activation(vision.text_or("activation_function", "gelu"));
}

mx::array as_rows(const mx::array& x) { return mx::reshape(x, {1, x.shape(1) * x.shape(2), x.shape(3)}); }

/// Attention of a stage, without its residual: x [1, H, W, width], normed, → rows [1, H * W, width].
class DavitAttention {
 public:
  DavitAttention(const DavitConfig& c, const DavitStage& stage, const WeightPath& path, bool in_windows)
      : width_(stage.width),
        parts_(in_windows ? stage.heads : stage.groups),
        window_(in_windows ? c.window : 0),
        qkv_(Linear(path / "qkv", width_, 3 * width_, c.qkv_bias).split({width_, width_, width_})),
        out_(path / "proj", width_, width_, true) {}

  mx::array operator()(const mx::array& x, Stages& stages) const {
    return window_ > 0 ? windows(x, stages) : channels(as_rows(x), stages);
  }

 private:
  /// Patches see those of their window; windows at the right and lower edge are filled with zeros, which are seen.
  mx::array windows(const mx::array& x, Stages& stages) const {
    const int rows = x.shape(1), columns = x.shape(2), across = (columns + window_ - 1) / window_,
              down = (rows + window_ - 1) / window_, patches = window_ * window_;
    mx::array padded = x;
    if (down * window_ != rows || across * window_ != columns) {
      padded = mx::pad(x, {{0, 0}, {0, down * window_ - rows}, {0, across * window_ - columns}, {0, 0}});
    }
    const mx::array cut =
        mx::reshape(mx::transpose(mx::reshape(padded, {down, window_, across, window_, width_}), {0, 2, 1, 3, 4}),
                    {down * across, patches, width_});
    const double flops = patches * (8.0 * width_ * width_ + 4.0 * patches * width_);
    const mx::array seen = in_pieces(down * across, flops, 0, stages, [&](int begin, int end) {
      const mx::array own = mx::slice(cut, {begin, 0, 0}, {end, patches, width_});
      const float scale = 1 / std::sqrt(static_cast<float>(width_ / parts_));
      return out_(attend_to_all(qkv_[0](own), qkv_[1](own), qkv_[2](own), parts_, scale));
    });
    const mx::array whole =
        mx::reshape(mx::transpose(mx::reshape(seen, {down, across, window_, window_, width_}), {0, 2, 1, 3, 4}),
                    {1, down * window_, across * window_, width_});
    return as_rows(mx::slice(whole, {0, 0, 0, 0}, {1, rows, columns, width_}));
  }

  /// Channels see those of their group, over all patches.
  mx::array channels(const mx::array& x, Stages& stages) const {
    const int count = x.shape(1), own = width_ / parts_;
    const auto project = [&](size_t part) {
      const mx::array y = by_rows(x, 2.0 * width_ * width_, stages, qkv_[part]);
      return mx::transpose(mx::reshape(y, {count, parts_, own}), {1, 2, 0});  // [groups, channels, patches]
    };
    const mx::array q = project(0), k = project(1), v = project(2);
    const mx::array scores = mx::multiply(mx::matmul(q, mx::transpose(k, {0, 2, 1})),
                                          mx::array(1 / std::sqrt(static_cast<float>(count)), x.dtype()));
    const mx::array seen = mx::matmul(mx::softmax(scores, -1, true), v);
    return by_rows(mx::reshape(mx::transpose(seen, {2, 0, 1}), {1, count, width_}), 2.0 * width_ * width_, stages,
                   out_);
  }

  int width_, parts_;  // heads or groups
  int window_;         // 0: of channels
  std::vector<Linear> qkv_;
  Linear out_;
};

/// Attention and MLP, a depthwise convolution before each.
class DavitBlock {
 public:
  DavitBlock(const DavitConfig& c, const DavitStage& stage, const WeightPath& path, bool in_windows)
      : conv1_(path / "conv1", stage.width, stage.width, 3, {.groups = stage.width}),
        norm_(path / "norm1", stage.width, kDavitEps),
        attention_(c, stage, path / (in_windows ? "window_attn" : "channel_attn"), in_windows),
        conv2_(path / "conv2", stage.width, stage.width, 3, {.groups = stage.width}),
        mlp_(make_mlp(c, stage, path)) {}

  mx::array operator()(const mx::array& x, Stages& stages) const {  // [1, H, W, width] → the same
    mx::array h = mx::add(conv1_(x, stages), x);
    h = staged(mx::add(mx::reshape(attention_(norm_(h), stages), x.shape()), h), stages);
    h = mx::add(conv2_(h, stages), h);
    return staged(mx::reshape(by_rows(as_rows(h), 4.0 * mlp_.up.in() * mlp_.up.out(), stages, mlp_), x.shape()),
                  stages);
  }

 private:
  static MlpResidual make_mlp(const DavitConfig& c, const DavitStage& stage, const WeightPath& path) {
    const int inner = static_cast<int>(stage.width * c.mlp_ratio);
    return {LayerNorm(path / "norm2", stage.width, kDavitEps), Linear(path / "ffn" / "fc1", stage.width, inner, true),
            Linear(path / "ffn" / "fc2", inner, stage.width, true), c.activation};
  }

  ConvLayer conv1_;
  LayerNorm norm_;
  DavitAttention attention_;
  ConvLayer conv2_;
  MlpResidual mlp_;
};

class Davit {
 public:
  Davit(const DavitConfig& c, const WeightPath& path) {
    int in = 3;
    for (size_t i = 0; i < c.stages.size(); ++i) {
      const DavitStage& stage = c.stages[i];
      const WeightPath embed = path / "convs" / static_cast<int>(i);
      const char* conv = embed.has("proj.weight") ? "proj" : "conv";
      stages_.push_back({stage.norm_first,
                         ConvLayer(embed / conv, in, stage.width, stage.side, {.stride = stage.stride}),
                         LayerNorm(embed / "norm", stage.norm_first ? in : stage.width, kDavitEps),
                         {}});
      for (int block = 0; block < stage.depth; ++block) {
        const WeightPath at = path / "blocks" / static_cast<int>(i) / block;
        stages_.back().blocks.emplace_back(c, stage, at / "spatial_block", true);
        stages_.back().blocks.emplace_back(c, stage, at / "channel_block", false);
      }
      in = stage.width;
    }
  }

  mx::array operator()(mx::array x, Stages& stages) const {  // [1, S, S, 3] → [1, H, W, width of the last stage]
    for (const Stage& stage : stages_) {
      x = stage.norm_first ? stage.conv(stage.norm(x), stages) : stage.norm(stage.conv(x, stages));
      staged(x, stages);
      for (const DavitBlock& block : stage.blocks) x = block(x, stages);
    }
    return x;
  }

 private:
  struct Stage {
    bool norm_first;
    ConvLayer conv;
    LayerNorm norm;
    std::vector<DavitBlock> blocks;
  };
  std::vector<Stage> stages_;
};

/// The tower's patches with their positions, and their mean before them, projected.
class FlorenceProjector {
 public:
  FlorenceProjector(const DavitConfig& c, const WeightPath& path)
      : width_(c.stages.back().width),
        rows_(take_table(path / "image_position_embed" / "row_embeddings", c.positions, width_ / 2)),
        columns_(take_table(path / "image_position_embed" / "column_embeddings", c.positions, width_ - width_ / 2)),
        first_frame_(mx::slice((path / "visual_temporal_embed").take("pos_idx_to_embed", {c.times, width_}), {0, 0},
                               {1, width_})),
        matrix_(path / "image_projection", width_, c.projection),
        norm_(path / "image_proj_norm", c.projection, kDavitEps) {}

  mx::array operator()(const mx::array& x) const {  // [1, H, W, width] → [1 + H * W, projection]
    const int height = x.shape(1), width = x.shape(2);
    if (height > rows_.shape(0) || width > columns_.shape(0)) {
      throw unfit_media(fmt::format("{} × {} patches exceed the {} × {} positions", height, width, rows_.shape(0),
                                    columns_.shape(0)));
    }
    const auto spread = [&](const mx::array& table, int count, const mx::Shape& shape) {
      return mx::broadcast_to(mx::reshape(mx::slice(table, {0, 0}, {count, table.shape(1)}), shape),
                              {height, width, table.shape(1)});
    };
    const mx::array positions = mx::concatenate(
        {spread(columns_, width, {1, width, columns_.shape(1)}), spread(rows_, height, {height, 1, rows_.shape(1)})},
        2);
    const mx::array placed = mx::add(mx::reshape(mx::add(x, positions), {height * width, width_}), first_frame_);
    return norm_(matrix_(mx::concatenate({mx::mean(placed, 0, true), placed}, 0)));
  }

 private:
  int width_;
  mx::array rows_, columns_, first_frame_;
  Linear matrix_;
  LayerNorm norm_;
};

/// A layer of BART's encoder: norms after the residuals.
class BartEncoderLayer {
 public:
  BartEncoderLayer(const DecoderConfig& c, const WeightPath& path)
      : heads_(c.num_attention_heads),
        q_(path / "self_attn" / "q_proj", c.hidden_size, c.hidden_size, true),
        k_(path / "self_attn" / "k_proj", c.hidden_size, c.hidden_size, true),
        v_(path / "self_attn" / "v_proj", c.hidden_size, c.hidden_size, true),
        out_{Linear(path / "self_attn" / "out_proj", c.hidden_size, c.hidden_size, true)},
        norm_(path / "self_attn_layer_norm", c.hidden_size, c.norm_eps),
        mlp_{std::nullopt, Linear(path / "fc1", c.hidden_size, c.intermediate_size, true),
             Linear(path / "fc2", c.intermediate_size, c.hidden_size, true), c.activation},
        last_norm_(path / "final_layer_norm", c.hidden_size, c.norm_eps) {}

  mx::array operator()(const mx::array& x, Stages& stages) const {  // [1, L, hidden] → the same
    const double hidden = x.shape(2), wide = mlp_.up.out();
    const mx::array k = by_rows(x, 2 * hidden * hidden, stages, k_), v = by_rows(x, 2 * hidden * hidden, stages, v_);
    const float scale = 1 / std::sqrt(static_cast<float>(x.shape(2) / heads_));
    const auto layer = [&](const mx::array& rows) {
      return last_norm_(mlp_(norm_(out_(attend_to_all(q_(rows), k, v, heads_, scale), rows))));
    };
    return staged(by_rows(x, hidden * (4 * hidden + 4 * x.shape(1) + 4 * wide), stages, layer), stages);
  }

 private:
  int heads_;
  Linear q_, k_, v_;
  OutResidual out_;
  LayerNorm norm_;
  MlpResidual mlp_;
  LayerNorm last_norm_;
};

class BartEncoder {
 public:
  BartEncoder(const Config& bart, const DecoderConfig& c, const WeightPath& path)
      : start_(static_cast<int32_t>(bart.integer_or("decoder_start_token_id", 2, 0, c.vocab_size - 1))),
        length_(static_cast<int>(c.max_position_embeddings)),
        positions_(take_table(path / "embed_positions", length_ + kBartFirstPosition, c.hidden_size)),
        norm_(path / "layernorm_embedding", c.hidden_size, c.norm_eps) {
    for (int i = 0; i < c.num_hidden_layers; ++i) layers_.emplace_back(c, path / "layers" / i);
  }

  int32_t start() const { return start_; }

  EncodedMedia operator()(const mx::array& embeddings) const {
    const int count = embeddings.shape(1);
    if (count > length_) {
      throw Error(ErrorKind::invalid, fmt::format("the prompt has {} tokens, the encoder takes {}", count, length_));
    }
    Stages stages;
    const mx::array own =
        mx::slice(positions_, {kBartFirstPosition, 0}, {kBartFirstPosition + count, positions_.shape(1)});
    mx::array x = staged(norm_(mx::add(embeddings, mx::astype(own, embeddings.dtype()))), stages);
    for (const BartEncoderLayer& layer : layers_) x = layer(x, stages);
    return {without_batch(x), {}, std::move(stages)};
  }

 private:
  int32_t start_;
  int length_;  // of the longest prompt
  mx::array positions_;
  LayerNorm norm_;
  std::vector<BartEncoderLayer> layers_;
};

class Florence2Encoder : public PromptEncoder {
 public:
  Florence2Encoder(const Config& config, Weights& weights, const DavitConfig& c)
      : type_(weights.activation_type()),
        bart_(config.has("text_config") ? config.object("text_config") : config),
        davit_(c, find_path(weights, {"model.vision_tower", "vision_tower"}, "convs.0.norm")),
        projector_(c, find_path(weights, {"model.multi_modal_projector", "multi_modal_projector"}, "image_projection")),
        prompt_(
            bart_, read_bart(bart_, "encoder"),
            find_path(weights, {"model.language_model.encoder", "language_model.model.encoder"}, "embed_positions")) {
    if (const auto hidden = read_bart(bart_, "encoder").hidden_size; hidden != c.projection) {
      throw vision_config(config).bad("projection_dim",
                                      fmt::format("must be the text's d_model, {}, got {}", hidden, c.projection));
    }
  }

  EncodedMedia encode(const MediaData& data) const override {
    const auto images = images_of(data, 3, type_);
    if (images.size() != 1) throw unfit_media(fmt::format("one square of pixels is needed, got {}", images.size()));
    Stages stages;
    const mx::array x = staged(projector_(davit_(images.front(), stages)), stages);
    return {x, {}, std::move(stages)};
  }

  int32_t decoder_start_token() const override { return prompt_.start(); }
  EncodedMedia encode_prompt(const mx::array& embeddings) const override { return prompt_(embeddings); }

 private:
  mx::Dtype type_;
  Config bart_;
  Davit davit_;
  FlorenceProjector projector_;
  BartEncoder prompt_;
};

/// Gives Microsoft's tensors the names that transformers uses.
void use_transformers_names(Weights& weights) {
  rename_tensors(weights, {{".conv1.fn.dw.", ".conv1."},
                           {".conv2.fn.dw.", ".conv2."},
                           {".window_attn.norm.", ".norm1."},
                           {".channel_attn.norm.", ".norm1."},
                           {".window_attn.fn.", ".window_attn."},
                           {".channel_attn.fn.", ".channel_attn."},
                           {".ffn.norm.", ".norm2."},
                           {".ffn.fn.net.", ".ffn."}});
  auto& tensors = weights.tensors();
  const auto matrix = tensors.find("image_projection");
  if (matrix == tensors.end()) return;
  tensors.emplace("image_projection.weight", mx::contiguous(mx::transpose(matrix->second)));
  tensors.erase(matrix);
  Weights::Tensors renamed;
  for (auto& [name, tensor] : tensors) {
    std::string to = name;
    if (to.starts_with("image_pos_embed.")) to.replace(0, to.find('.'), "image_position_embed");
    const bool projects = to.starts_with("image_p") || to.starts_with("visual_temporal_embed.");
    renamed.emplace(projects ? "multi_modal_projector." + to : to, std::move(tensor));
  }
  tensors = std::move(renamed);
}

}  // namespace

std::unique_ptr<MediaEncoder> make_florence2_vision(const Config& config, Weights& weights) {
  use_transformers_names(weights);
  return std::make_unique<Florence2Encoder>(config, weights, DavitConfig(vision_config(config)));
}

}  // namespace mlxk
