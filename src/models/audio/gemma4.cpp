// Gemma 4's audio encoder (transformers' gemma4; https://arxiv.org/abs/2303.01037): two convolutions, conformer blocks
// with local attention, one projection into the language model. Features are [1, frames, mels], without padding.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "models/vision/parts.h"
#include "nn/activation.h"

namespace mlxk {
namespace {

constexpr float kGemma4Eps = 1e-6F;

struct Gemma4AudioConfig {
  int hidden, layers, heads, kernel, channels[2], left, right, chunk, out;
  float residual, cap, limit, eps;
  Activation activation;
  int head_dim() const { return hidden / heads; }
};

Gemma4AudioConfig read(const Config& config) {
  const Config audio = config.object("audio_config");
  const auto integer = [&](const char* key, int fallback, int low, int high) {
    return static_cast<int>(audio.integer_or(key, fallback, low, high));
  };
  const auto number = [&](const char* key, double fallback, double high) {
    return static_cast<float>(audio.number_or(key, fallback, 0, high));
  };
  Gemma4AudioConfig c{};
  c.hidden = integer("hidden_size", 1024, 2, 1 << 16);
  c.layers = integer("num_hidden_layers", 12, 1, 1024);
  c.heads = integer("num_attention_heads", 8, 1, 1024);
  c.kernel = integer("conv_kernel_size", 5, 1, 256);
  c.chunk = integer("attention_chunk_size", 12, 1, 1 << 12);
  c.left = integer("attention_context_left", 13, 2, 1 << 12);
  c.right = integer("attention_context_right", 0, 0, 1 << 12);
  c.out = integer("output_proj_dims", 1536, 1, 1 << 16);
  c.residual = number("residual_weight", 0.5, 1e3);
  c.cap = number("attention_logit_cap", 50, 1e6);
  c.limit = number("gradient_clipping", 1e10, 1e30);
  c.eps = number("rms_norm_eps", 1e-6, 1);
  const std::string activation = audio.text_or("hidden_act", "silu");
  try {
    c.activation = read_activation(activation);
  } catch (const Error&) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] hidden_act '{}' is not built in", audio.place(), activation));
  }
  if (c.hidden % (2 * c.heads) != 0) {
    throw audio.bad("hidden_size",
                    fmt::format("must be an even multiple of num_attention_heads, got {} and {}", c.hidden, c.heads));
  }
  if (!(c.cap > 0)) throw audio.bad("attention_logit_cap", "must be above 0");
  c.channels[0] = 128;
  c.channels[1] = 32;
  if (const Json* given = audio.find("subsampling_conv_channels")) {
    if (!given->is_array() || given->size() != 2) throw audio.bad("subsampling_conv_channels", "must be two numbers");
    for (size_t i = 0; i < 2; ++i) {
      const Json& one = (*given)[i];
      if (!one.is_number_integer() || one.get<int64_t>() < 1 || one.get<int64_t>() > 1 << 12) {
        throw audio.bad("subsampling_conv_channels", "must be two whole numbers from 1 to 4096");
      }
      c.channels[i] = one.get<int>();
    }
  }
  return c;
}

ClampedLinear clamped(const WeightPath& path, int in, int out) {
  const auto limit = [&](const char* name) -> std::optional<mx::array> {
    return path.has(name) ? std::optional(path.take(name, {})) : std::nullopt;
  };
  return {Linear(path / "linear", in, out, false), limit("input_min"), limit("input_max"), limit("output_min"),
          limit("output_max")};
}

mx::array clipped(const mx::array& x, float limit) {
  const float most = x.dtype() == mx::float16 ? std::min(limit, 65504.0F) : limit;
  return mx::clip(x, mx::array(-most, x.dtype()), mx::array(most, x.dtype()));
}

mx::array times(const mx::array& x, float factor) { return mx::multiply(x, mx::array(factor, x.dtype())); }

struct FeedForward {
  FeedForward(const Gemma4AudioConfig& c, const WeightPath& path)
      : before(path / "pre_layer_norm", c.hidden, kGemma4Eps),
        after(path / "post_layer_norm", c.hidden, kGemma4Eps),
        up(clamped(path / "ffw_layer_1", c.hidden, 4 * c.hidden)),
        down(clamped(path / "ffw_layer_2", 4 * c.hidden, c.hidden)) {}

  mx::array operator()(const Gemma4AudioConfig& c, const mx::array& x) const {
    const mx::array h = down(activate(c.activation, up(before(clipped(x, c.limit)))));
    return mx::add(times(after(clipped(h, c.limit)), c.residual), x);
  }

  RmsNorm before, after;
  ClampedLinear up, down;
};

/// The attention mask and the relative positions, the same for all layers.
struct Neighbours {
  mx::array hidden;  // [L, L], whether the key is masked
  mx::array index;   // [1, L, L], the row of the relative keys
};

Neighbours neighbours(const Gemma4AudioConfig& c, int length) {
  std::vector<uint8_t> hidden;
  std::vector<int32_t> index;
  const int rows = (c.chunk + c.left - 1 + c.right) / 2 + 1;  // of the relative keys; one more of zeros follows
  for (int i = 0; i < length; ++i) {
    for (int j = 0; j < length; ++j) {
      const int distance = i - j, row = c.left - 1 - distance;
      hidden.push_back(distance >= 0 ? distance >= c.left - 1 : -distance >= c.right);
      index.push_back(row >= 0 && row < rows ? row : rows);
    }
  }
  mx::array hides(hidden.begin(), {length, length}, mx::uint8);
  return {mx::astype(hides, mx::bool_), mx::array(index.begin(), {1, length, length}, mx::int32)};
}

struct LocalAttention {
  LocalAttention(const Gemma4AudioConfig& c, const WeightPath& path)
      : q(clamped(path / "q_proj", c.hidden, c.hidden)),
        k(clamped(path / "k_proj", c.hidden, c.hidden)),
        v(clamped(path / "v_proj", c.hidden, c.hidden)),
        post(clamped(path / "post", c.hidden, c.hidden)),
        relative(path / "relative_k_proj", c.hidden, c.hidden, false),
        scale(path.take("per_dim_scale", {c.head_dim()})) {}

  /// `positions` [rows, hidden]: the embeddings of the distances, the farthest first.
  mx::array operator()(const Gemma4AudioConfig& c, const mx::array& x, const mx::array& positions,
                       const Neighbours& near) const {
    const int length = x.shape(1);
    const auto heads = [&](const mx::array& y) {  // [1, L, hidden] → [heads, L, head_dim]
      return mx::transpose(mx::reshape(mx::astype(y, mx::float32), {-1, c.heads, c.head_dim()}), {1, 0, 2});
    };
    // softplus, with the factors that make it 1 for a scale of 0
    const mx::array per_dim = mx::logaddexp(mx::astype(scale, mx::float32), mx::array(0.0F));
    const double root = 1 / std::sqrt(double(c.head_dim()));
    const mx::array queries = mx::multiply(times(heads(q(x)), static_cast<float>(root / std::log(2.0))), per_dim);
    const mx::array keys = times(heads(k(x)), static_cast<float>(std::log(1 + std::exp(1.0)) / std::log(2.0)));
    const mx::array far = heads(relative(positions));
    const mx::array by_distance = mx::pad(mx::matmul(queries, mx::transpose(far, {0, 2, 1})), {{0, 0}, {0, 0}, {0, 1}});
    const mx::array index = mx::broadcast_to(near.index, {c.heads, length, length});
    mx::array scores =
        mx::add(mx::matmul(queries, mx::transpose(keys, {0, 2, 1})), mx::take_along_axis(by_distance, index, 2));
    scores = times(mx::tanh(times(scores, 1 / c.cap)), c.cap);
    scores = mx::where(near.hidden, mx::array(-1e9F), scores);
    const mx::array seen = mx::matmul(mx::softmax(scores, std::vector<int>{2}, true), heads(v(x)));
    return post(mx::astype(mx::reshape(mx::transpose(seen, {1, 0, 2}), {1, length, c.hidden}), x.dtype()));
  }

  ClampedLinear q, k, v, post;
  Linear relative;
  mx::array scale;
};

struct LightConvolution {
  LightConvolution(const Gemma4AudioConfig& c, const WeightPath& path)
      : before(path / "pre_layer_norm", c.hidden, c.eps),
        norm(path / "conv_norm", c.hidden, c.eps),
        start(clamped(path / "linear_start", c.hidden, 2 * c.hidden)),
        end(clamped(path / "linear_end", c.hidden, c.hidden)),
        conv(with_channels_last(path / "depthwise_conv1d", 1, c.kernel), c.hidden, c.hidden, c.kernel,
             {.groups = c.hidden}, false) {}

  mx::array operator()(const Gemma4AudioConfig& c, const mx::array& x) const {
    const auto halves = mx::split(start(before(x)), 2, 2);
    const mx::array gated = mx::multiply(halves[0], mx::sigmoid(halves[1]));
    const mx::array mixed = conv(mx::pad(gated, {{0, 0}, {c.kernel - 1, 0}, {0, 0}}));
    return mx::add(end(activate(c.activation, norm(clipped(mixed, c.limit)))), x);
  }

  RmsNorm before, norm;
  ClampedLinear start, end;
  Conv1d conv;
};

struct ConformerBlock {
  ConformerBlock(const Gemma4AudioConfig& c, const WeightPath& path)
      : first(c, path / "feed_forward1"),
        second(c, path / "feed_forward2"),
        attention(c, path / "self_attn"),
        convolution(c, path / "lconv1d"),
        before(path / "norm_pre_attn", c.hidden, kGemma4Eps),
        after(path / "norm_post_attn", c.hidden, kGemma4Eps),
        out(path / "norm_out", c.hidden, kGemma4Eps) {}

  mx::array operator()(const Gemma4AudioConfig& c, mx::array x, const mx::array& positions,
                       const Neighbours& near) const {
    x = first(c, x);
    const mx::array seen = attention(c, before(clipped(x, c.limit)), positions, near);
    x = mx::add(after(clipped(seen, c.limit)), x);
    return out(clipped(second(c, convolution(c, x)), c.limit));
  }

  FeedForward first, second;
  LocalAttention attention;
  LightConvolution convolution;
  RmsNorm before, after, out;
};

Conv2d conv(const WeightPath& path, int in, int out) {
  put_channels_last(path, in, 3, 3);
  return Conv2d(path, in, out, {3, 3}, {.stride = {2, 2}, .padding = {1, 1}}, false);
}

class Gemma4AudioEncoder : public MediaEncoder {
 public:
  Gemma4AudioEncoder(const Config& config, const Gemma4AudioConfig& c, Weights& weights, const WeightPath& path,
                     const WeightPath& projection)
      : type_(weights.activation_type()),
        c_(c),
        conv0_(conv(path / "subsample_conv_projection" / "layer0" / "conv", 1, c.channels[0])),
        conv1_(conv(path / "subsample_conv_projection" / "layer1" / "conv", c.channels[0], c.channels[1])),
        norm0_(path / "subsample_conv_projection" / "layer0" / "norm", c.channels[0], c.eps, false),
        norm1_(path / "subsample_conv_projection" / "layer1" / "norm", c.channels[1], c.eps, false),
        input_(path / "subsample_conv_projection" / "input_proj_linear", c.channels[0] / 4 * c.channels[1], c.hidden,
               false),
        positions_(distances(c, type_)),
        output_(path / "output_proj", c.hidden, c.out, true),
        norm_(c.out, c.eps),
        projection_(projection, c.out, text_hidden_size(config), false) {
    for (int i = 0; i < c.layers; ++i) blocks_.emplace_back(c, path / "layers" / i);
  }

  EncodedMedia encode(const MediaData& data) const override {
    // As many mels as channels, as in the published checkpoints: the projection's width implies it.
    const std::vector<mx::array> windows = windows_of(data, 0, c_.channels[0], type_);
    if (windows.size() != 1) throw unfit_audio("it must be one window");
    std::vector<mx::array> stages;
    mx::array x = mx::expand_dims(windows[0], 3);
    x = mx::maximum(norm0_(conv0_(x)), mx::array(0.0F, x.dtype()));
    x = mx::maximum(norm1_(conv1_(x)), mx::array(0.0F, x.dtype()));
    const int length = x.shape(1);
    x = input_(mx::reshape(x, {1, length, x.shape(2) * x.shape(3)}));
    stages.push_back(x);
    const Neighbours near = neighbours(c_, length);
    for (const ConformerBlock& block : blocks_) {
      x = block(c_, x, positions_, near);
      stages.push_back(x);
    }
    const mx::array features = without_batch(projection_(norm_(output_(x))));
    stages.push_back(features);
    return {features, {}, std::move(stages)};
  }

 private:
  /// [rows, hidden]: sines and cosines of the distances within a block's attention, the farthest first.
  static mx::array distances(const Gemma4AudioConfig& c, mx::Dtype type) {
    const int far = (c.chunk + c.left - 1 + c.right) / 2;
    const mx::array near_first = mx::squeeze(sinusoids(far + 1, c.hidden, type), 0);
    std::vector<int32_t> order;
    for (int i = far; i >= 0; --i) order.push_back(i);
    return mx::take(near_first, mx::array(order.begin(), {far + 1}, mx::int32), 0);
  }

  mx::Dtype type_;
  Gemma4AudioConfig c_;
  Conv2d conv0_, conv1_;
  LayerNorm norm0_, norm1_;
  Linear input_;
  mx::array positions_;
  std::vector<ConformerBlock> blocks_;
  Linear output_;
  RmsNorm norm_;
  Linear projection_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_gemma4_audio(const Config& config, Weights& weights) {
  const WeightPath path = find_path(weights, {"audio_tower", "model.audio_tower"}, "output_proj.weight");
  const WeightPath projection = find_path(weights, {"embed_audio", "model.embed_audio"}, "embedding_projection");
  return std::make_unique<Gemma4AudioEncoder>(config, read(config), weights, path, projection / "embedding_projection");
}

}  // namespace mlxk
