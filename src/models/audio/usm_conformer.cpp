#include "models/audio/usm_conformer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/vision/parts.h"
#include "nn/activation.h"

namespace mlxk {
namespace {

constexpr float kUsmEps = 1e-6F;

ClampedLinear clamped(const UsmConformerConfig& c, const WeightPath& path, int in, int out) {
  const auto limit = [&](const char* name) -> std::optional<mx::array> {
    return path.has(name) ? std::optional(path.take(name, {})) : std::nullopt;
  };
  return {Linear(c.names.linear ? path / c.names.linear : path, in, out, false), limit("input_min"), limit("input_max"),
          limit("output_min"), limit("output_max")};
}

mx::array clipped(const mx::array& x, float limit) {
  const float most = x.dtype() == mx::float16 ? std::min(limit, 65504.0F) : limit;
  return mx::clip(x, mx::array(-most, x.dtype()), mx::array(most, x.dtype()));
}

mx::array times(const mx::array& x, float factor) { return mx::multiply(x, mx::array(factor, x.dtype())); }

struct FeedForward {
  FeedForward(const UsmConformerConfig& c, const WeightPath& path)
      : before(path / "pre_layer_norm", c.hidden, kUsmEps),
        after(path / "post_layer_norm", c.hidden, kUsmEps),
        up(clamped(c, path / "ffw_layer_1", c.hidden, 4 * c.hidden)),
        down(clamped(c, path / "ffw_layer_2", 4 * c.hidden, c.hidden)) {}

  mx::array operator()(const UsmConformerConfig& c, const mx::array& x) const {
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

Neighbours neighbours(const UsmConformerConfig& c, int length) {
  std::vector<uint8_t> hidden;
  std::vector<int32_t> index;
  const int rows = static_cast<int>(c.distances.size());  // of the relative keys; one more of zeros follows
  for (int i = 0; i < length; ++i) {
    for (int j = 0; j < length; ++j) {
      const int distance = i - j, row = c.left - 1 - distance;
      hidden.push_back(distance > c.back || -distance > c.ahead);
      index.push_back(row >= 0 && row < rows ? row : rows);
    }
  }
  mx::array hides(hidden.begin(), {length, length}, mx::uint8);
  return {mx::astype(hides, mx::bool_), mx::array(index.begin(), {1, length, length}, mx::int32)};
}

struct LocalAttention {
  LocalAttention(const UsmConformerConfig& c, const WeightPath& block)
      : LocalAttention(c, block / c.names.attention, block / c.names.post) {}
  LocalAttention(const UsmConformerConfig& c, const WeightPath& path, const WeightPath& post)
      : q(clamped(c, path / "q_proj", c.hidden, c.hidden)),
        k(clamped(c, path / "k_proj", c.hidden, c.hidden)),
        v(clamped(c, path / "v_proj", c.hidden, c.hidden)),
        post(clamped(c, post, c.hidden, c.hidden)),
        relative(path / c.names.relative, c.hidden, c.hidden, false),
        scale(path.take("per_dim_scale", {c.head_dim()})) {}

  /// `positions` [distances, hidden]: the embeddings of the distances.
  mx::array operator()(const UsmConformerConfig& c, const mx::array& x, const mx::array& positions,
                       const Neighbours& near) const {
    const int length = x.shape(1);
    const auto heads = [&](const mx::array& y) {  // [1, L, hidden] → [heads, L, head_dim]
      return mx::transpose(mx::reshape(mx::astype(y, mx::float32), {-1, c.heads, c.head_dim()}), {1, 0, 2});
    };
    // softplus, with the factors that make it 1 for a scale of 0
    const mx::array per_dim = mx::logaddexp(mx::astype(scale, mx::float32), mx::array(0.0F));
    const double root = 1 / std::sqrt(double(c.head_dim()));
    const mx::array queries = mx::multiply(times(heads(q(x)), static_cast<float>(root / std::log(2.0))), per_dim);
    const double key_scale = c.scales_keys ? std::log(1 + std::exp(1.0)) / std::log(2.0) : 1;
    const mx::array keys = times(heads(k(x)), static_cast<float>(key_scale));
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
  LightConvolution(const UsmConformerConfig& c, const WeightPath& path)
      : before(path / "pre_layer_norm", c.hidden, c.eps),
        norm(path / "conv_norm", c.hidden, c.eps),
        start(clamped(c, path / "linear_start", c.hidden, 2 * c.hidden)),
        end(clamped(c, path / "linear_end", c.hidden, c.hidden)),
        conv(with_channels_last(path / "depthwise_conv1d", 1, c.kernel), c.hidden, c.hidden, c.kernel,
             {.groups = c.hidden}, false) {}

  mx::array operator()(const UsmConformerConfig& c, const mx::array& x) const {
    const auto halves = mx::split(start(before(x)), 2, 2);
    const mx::array gated = mx::multiply(halves[0], mx::sigmoid(halves[1]));
    const mx::array mixed = conv(mx::pad(gated, {{0, 0}, {c.kernel - 1, 0}, {0, 0}}));
    return mx::add(end(activate(c.activation, norm(clipped(mixed, c.limit)))), x);
  }

  RmsNorm before, norm;
  ClampedLinear start, end;
  Conv1d conv;
};

}  // namespace

struct UsmConformer::Block {
  Block(const UsmConformerConfig& c, const WeightPath& path)
      : first(c, path / c.names.feed_forward1),
        second(c, path / c.names.feed_forward2),
        attention(c, path),
        convolution(c, path / "lconv1d"),
        before(path / c.names.pre_norm, c.hidden, kUsmEps),
        after(path / c.names.post_norm, c.hidden, kUsmEps),
        out(path / c.names.out_norm, c.hidden, kUsmEps) {}

  mx::array operator()(const UsmConformerConfig& c, mx::array x, const mx::array& positions,
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

UsmConformerConfig UsmConformerConfig::read(const Config& audio, int hidden, const std::string& prefix) {
  const auto integer = [&](const std::string& key, int fallback, int low, int high) {
    return static_cast<int>(audio.integer_or((prefix + key).c_str(), fallback, low, high));
  };
  const auto number = [&](const std::string& key, double fallback, double high) {
    return static_cast<float>(audio.number_or(key.c_str(), fallback, 0, high));
  };
  UsmConformerConfig c{};
  c.hidden = static_cast<int>(audio.integer_or("hidden_size", hidden, 2, 1 << 16));
  c.layers = integer("num_hidden_layers", 12, 1, 1024);
  c.heads = integer("num_attention_heads", 8, 1, 1024);
  c.kernel = integer("conv_kernel_size", 5, 1, 256);
  c.chunk = integer("attention_chunk_size", 12, 1, 1 << 12);
  c.left = integer("attention_context_left", 13, 2, 1 << 12);
  c.right = integer("attention_context_right", 0, 0, 1 << 12);
  c.residual = number(prefix + "residual_weight", 0.5, 1e3);
  c.cap = number(prefix + "attention_logit_cap", 50, 1e6);
  c.limit = number("gradient_clipping", 1e10, 1e30);
  c.eps = number("rms_norm_eps", 1e-6, 1);
  if (c.hidden % (2 * c.heads) != 0) {
    throw audio.bad("hidden_size", fmt::format("must be an even multiple of {}num_attention_heads, got {} and {}",
                                               prefix, c.hidden, c.heads));
  }
  if (!(c.cap > 0)) throw audio.bad(prefix + "attention_logit_cap", "must be above 0");
  return c;
}

UsmConformer::UsmConformer(const UsmConformerConfig& c, const WeightPath& path, mx::Dtype type)
    : c_(c), positions_(sinusoids(c.distances, c.hidden, type)) {
  for (int i = 0; i < c.layers; ++i) blocks_.emplace_back(c, path / i);
}

UsmConformer::~UsmConformer() = default;

mx::array UsmConformer::operator()(mx::array x, std::vector<mx::array>& stages) const {
  const Neighbours near = neighbours(c_, x.shape(1));
  for (const Block& block : blocks_) {
    x = block(c_, x, positions_, near);
    stages.push_back(x);
  }
  return x;
}

Conv2d usm_conv(const WeightPath& path, int in, int out, int before) {
  put_channels_last(path, in, 3, 3);
  return Conv2d(path, in, out, {3, 3}, {.stride = {2, 2}, .padding = {before, 1}}, false);
}

std::pair<int, int> usm_channels(const Config& audio, const char* key) {
  const Json* given = audio.find(key);
  if (!given) return {128, 32};
  if (!given->is_array() || given->size() != 2) throw audio.bad(key, "must be two numbers");
  for (const Json& one : *given) {
    if (!one.is_number_integer() || one.get<int64_t>() < 1 || one.get<int64_t>() > 1 << 12) {
      throw audio.bad(key, "must be two whole numbers from 1 to 4096");
    }
  }
  return {(*given)[0].get<int>(), (*given)[1].get<int>()};
}

}  // namespace mlxk
