#include "models/audio/fast_conformer.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "json/json.h"
#include "kernels/device.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/vision/parts.h"
#include "nn/attention.h"
#include "nn/mlp.h"

namespace mlxk {
namespace {

constexpr float kEps = 1e-5F;
constexpr int kSide = 3;  // of the strided convolutions' kernels

int halved(int n) { return (n + 1) / 2; }

Error unsupported(const Config& config, const char* key, const std::string& value) {
  return Error(ErrorKind::unsupported, fmt::format("[{}] {} '{}' is not built in", config.place(), key, value));
}

/// The context of attention: a pair of frames to the left and to the right.
void read_context(const Config& encoder, FastConformerConfig& c) {
  const std::string style = encoder.text_or("att_context_style", "regular");
  const Json* pair = encoder.find("att_context_size");
  if (!pair) return;
  const bool fits = pair->is_array() && pair->size() == 2 && (*pair)[0].is_number_integer() &&
                    (*pair)[1].is_number_integer() && (*pair)[0] >= -1 && (*pair)[1] >= -1 && (*pair)[0] <= 1 << 20 &&
                    (*pair)[1] <= 1 << 20;
  if (!fits) throw encoder.bad("att_context_size", "must be two numbers of frames, -1 for all");
  c.left = (*pair)[0].get<int>();
  c.right = (*pair)[1].get<int>();
  if (style != "regular" && (c.left >= 0 || c.right >= 0)) throw unsupported(encoder, "att_context_style", style);
}

void check(const Config& encoder, const FastConformerConfig& c) {
  if (c.hidden % (2 * c.heads) != 0) {
    throw encoder.bad("d_model", fmt::format("must be an even multiple of the {} heads, got {}", c.heads, c.hidden));
  }
  if (c.kernel % 2 == 0) throw encoder.bad("conv_kernel_size", fmt::format("must be odd, got {}", c.kernel));
  if (c.factor < 2 || (c.factor & (c.factor - 1)) != 0) {
    throw encoder.bad("subsampling_factor", fmt::format("must be a power of 2, got {}", c.factor));
  }
}

/// The tensor `name` below `path`, or nullptr.
mx::array* tensor_of(const WeightPath& path, const std::string& name) {
  auto& tensors = path.weights().tensors();
  const auto found = tensors.find((path / name).path());
  return found == tensors.end() ? nullptr : &found->second;
}

/// A convolution of width 1, [out, 1, in] or [out, in, 1], as a matrix.
const WeightPath& as_matrix(const WeightPath& path) {
  mx::array* weight = tensor_of(path, "weight");
  if (weight && weight->ndim() == 3 && (weight->shape(1) == 1 || weight->shape(2) == 1)) {
    *weight = mx::flatten(*weight, 1, 2);
  }
  return path;
}

/// A batch norm in inference: a factor and an offset for each channel.
struct BatchNorm {
  BatchNorm(const WeightPath& path, int channels) : scale(1.0F), shift(0.0F) {
    const auto real = [&](const char* name) { return mx::astype(path.take(name, {channels}), mx::float32); };
    const mx::Dtype type = path.weights().activation_type();
    const mx::array factor = mx::multiply(real("weight"), mx::rsqrt(mx::add(real("running_var"), mx::array(kEps))));
    scale = path.weights().keep(mx::astype(factor, type));
    shift =
        path.weights().keep(mx::astype(mx::subtract(real("bias"), mx::multiply(real("running_mean"), factor)), type));
  }
  mx::array operator()(const mx::array& x) const { return mx::add(mx::multiply(x, scale), shift); }

  mx::array scale, shift;
};

/// [2 n - 1, hidden]: sines and cosines, interleaved, of the distances n - 1 to -(n - 1).
mx::array distances(int n, int hidden, mx::Dtype type) {
  const mx::array position = mx::reshape(mx::arange(n - 1, -n, -1, mx::float32), {2 * n - 1, 1});
  const mx::array step = mx::exp(
      mx::multiply(mx::arange(0, hidden, 2, mx::float32), mx::array(static_cast<float>(-std::log(10000.0) / hidden))));
  const mx::array angle = mx::multiply(position, step);
  const mx::array pairs = mx::stack({mx::sin(angle), mx::cos(angle)}, 2);
  return mx::astype(mx::reshape(pairs, {2 * n - 1, hidden}), type);
}

/// [n, n]: 0 where a query (row) sees a key, else -inf; nullopt if it sees all.
std::optional<mx::array> neighbours(const FastConformerConfig& c, int n) {
  if ((c.left < 0 || c.left >= n - 1) && (c.right < 0 || c.right >= n - 1)) return std::nullopt;
  std::vector<float> seen(static_cast<size_t>(n) * static_cast<size_t>(n), -std::numeric_limits<float>::infinity());
  for (int i = 0; i < n; ++i) {
    const int first = c.left < 0 ? 0 : std::max(0, i - c.left);
    const int last = c.right < 0 ? n - 1 : std::min(n - 1, i + c.right);
    for (int j = first; j <= last; ++j)
      seen[static_cast<size_t>(i) * static_cast<size_t>(n) + static_cast<size_t>(j)] = 0;
  }
  return mx::array(seen.data(), {n, n}, mx::float32);
}

/// What all blocks share: the distances, and the mask.
struct Neighbourhood {
  mx::array distances;
  std::optional<mx::array> mask;
};

/// Attention with relative positions.
struct RelativeAttention {
  RelativeAttention(const FastConformerConfig& c, const WeightPath& norm, const WeightPath& path)
      : heads(c.heads),
        project{LayerNorm(norm, c.hidden, kEps),
                Linear(path / "linear_q", c.hidden, c.hidden, c.bias),
                Linear(path / "linear_k", c.hidden, c.hidden, c.bias),
                Linear(path / "linear_v", c.hidden, c.hidden, c.bias),
                std::nullopt,
                std::nullopt,
                c.hidden / c.heads},
        position(path / "linear_pos", c.hidden, c.hidden, false),
        bias_u(path.take("pos_bias_u", {c.heads, c.hidden / c.heads})),
        bias_v(path.take("pos_bias_v", {c.heads, c.hidden / c.heads})),
        out{Linear(path / "linear_out", c.hidden, c.hidden, c.bias), std::nullopt} {}

  mx::array operator()(const mx::array& x, const Neighbourhood& near) const {
    const Qkv seen = project(x);
    const int n = x.shape(1);
    const float scale = 1 / std::sqrt(static_cast<float>(seen.head_dim));
    const auto heads_of = [&](const mx::array& y) { return mx::unflatten(y, -1, {heads, seen.head_dim}); };
    const auto first = [](const mx::array& y) { return mx::transpose(y, {0, 2, 1, 3}); };  // [1, heads, L, dim]
    const mx::array q = heads_of(seen.q);
    const mx::array far = first(heads_of(mx::expand_dims(position(near.distances), 0)));
    // Row i of the products holds the distances n - 1 … -(n - 1); key j is at distance i - j.
    const mx::array by_distance =
        mx::contiguous(mx::matmul(first(mx::add(q, bias_v)), mx::transpose(far, {0, 1, 3, 2})));
    const int64_t row = 2 * n - 1;
    mx::array shifted = mx::as_strided(by_distance, {1, heads, n, n}, {heads * n * row, n * row, row - 1, 1},
                                       static_cast<size_t>(n) - 1);
    shifted = mx::multiply(shifted, mx::array(scale, shifted.dtype()));
    if (near.mask) shifted = mx::add(shifted, mx::astype(*near.mask, shifted.dtype()));
    const mx::array queries = first(mx::add(q, bias_u)), keys = first(heads_of(seen.k)),
                    values = first(heads_of(seen.v));
    const LayerOps& ops = layer_ops();
    const mx::array mixed =
        ops.attention && ops.takes(queries.dtype())
            ? ops.attention(queries, keys, values, scale, "array", shifted)
            : mx::fast::scaled_dot_product_attention(queries, keys, values, scale, "array", shifted);
    return out(mx::flatten(first(mixed), 2, 3), x);
  }

  int heads;
  NormQkv project;
  Linear position;
  mx::array bias_u, bias_v;
  OutResidual out;
};

MlpResidual half_mlp(const FastConformerConfig& c, const WeightPath& norm, const WeightPath& path) {
  return {.norm = LayerNorm(norm, c.hidden, kEps),
          .up = Linear(path / "linear1", c.hidden, c.inner, c.bias),
          .down = Linear(path / "linear2", c.inner, c.hidden, c.bias),
          .activation = Activation::silu,
          .multiplier = 0.5F};
}

int pad_of(int kernel) { return (kernel - 1) / 2; }

/// A gate, a depthwise convolution and a batch norm between two linear maps.
struct ConvModule {
  ConvModule(const FastConformerConfig& c, const WeightPath& norm, const WeightPath& path)
      : in{LayerNorm(norm, c.hidden, kEps),
           Linear(as_matrix(path / "pointwise_conv1"), c.hidden, 2 * c.hidden, c.bias)},
        conv(with_channels_last(path / "depthwise_conv", 1, c.kernel), c.hidden, c.hidden, c.kernel,
             {.padding = pad_of(c.kernel), .groups = c.hidden}, c.bias),
        batch(path / "batch_norm", c.hidden),
        out{Linear(as_matrix(path / "pointwise_conv2"), c.hidden, c.hidden, c.bias), std::nullopt} {}

  mx::array operator()(const mx::array& x) const {
    const auto halves = mx::split(in(x), 2, 2);
    return out(activate(Activation::silu, batch(conv(mx::multiply(halves[0], mx::sigmoid(halves[1]))))), x);
  }

  NormLinear in;
  Conv1d conv;
  BatchNorm batch;
  OutResidual out;
};

const WeightPath& channels_last(const WeightPath& path, int in, int side) {
  put_channels_last(path, in, side, side);
  return path;
}

/// The strided convolutions: each halves frames and features.
std::vector<Conv2d> make_convs(const FastConformerConfig& c, const WeightPath& path) {
  const ConvOptions strided{.stride = {2, 2}, .padding = {1, 1}};
  std::vector<Conv2d> convs;
  int index = 0;  // in NeMo's sequence, where activations count
  for (int factor = c.factor; factor > 1; factor /= 2) {
    const bool first = index == 0;
    if (first || !c.depthwise) {
      const int in = first ? 1 : c.channels;
      convs.emplace_back(channels_last(path / index, in, kSide), in, c.channels, std::pair(kSide, kSide), strided,
                         true);
      index += 2;
      continue;
    }
    ConvOptions grouped = strided;
    grouped.groups = c.channels;
    convs.emplace_back(channels_last(path / index, 1, kSide), c.channels, c.channels, std::pair(kSide, kSide), grouped,
                       true);
    convs.emplace_back(channels_last(path / (index + 1), c.channels, 1), c.channels, c.channels, std::pair(1, 1),
                       ConvOptions{}, true);
    index += 3;
  }
  return convs;
}

int frequencies(const FastConformerConfig& c) {
  int mels = c.mels;
  for (int factor = c.factor; factor > 1; factor /= 2) mels = halved(mels);
  return mels;
}

}  // namespace

FastConformerConfig FastConformerConfig::from_nemo(const Config& encoder) {
  FastConformerConfig c{};
  const auto integer = [&](const char* key, int high) { return static_cast<int>(encoder.integer(key, 1, high)); };
  const auto only = [&](const char* key, const char* value) {
    const std::string given = encoder.text_or(key, value);
    if (given != value) throw unsupported(encoder, key, given);
  };
  c.mels = integer("feat_in", 1024);
  c.layers = integer("n_layers", 1024);
  c.hidden = integer("d_model", 1 << 16);
  c.heads = integer("n_heads", 1024);
  c.inner = c.hidden * static_cast<int>(encoder.integer_or("ff_expansion_factor", 4, 1, 64));
  c.kernel = static_cast<int>(encoder.integer_or("conv_kernel_size", 31, 1, 1024));
  c.factor = static_cast<int>(encoder.integer_or("subsampling_factor", 4, 1, 64));
  c.channels = static_cast<int>(encoder.integer_or("subsampling_conv_channels", c.hidden, 1, 1 << 14));
  c.bias = encoder.flag_or("use_bias", true);
  c.scales_input = encoder.flag_or("xscaling", true);
  const std::string subsampling = encoder.text_or("subsampling", "striding");
  c.depthwise = subsampling == "dw_striding";
  if (!c.depthwise && subsampling != "striding") throw unsupported(encoder, "subsampling", subsampling);
  const std::string attention = encoder.text_or("self_attention_model", "rel_pos");
  if (attention != "rel_pos" && attention != "rel_pos_local_attn") {
    throw unsupported(encoder, "self_attention_model", attention);
  }
  only("conv_norm_type", "batch_norm");
  if (encoder.flag_or("causal_downsampling", false)) throw unsupported(encoder, "causal_downsampling", "true");
  if (encoder.integer_or("global_tokens", 0, 0, 1 << 20) > 0) throw unsupported(encoder, "global_tokens", "> 0");
  if (encoder.integer_or("feat_out", -1, -1, 1 << 16) > 0) throw unsupported(encoder, "feat_out", "> 0");
  if (const Json* conv = encoder.find("conv_context_size"); conv && conv->is_string()) only("conv_context_size", "");
  if (const Json* reduction = encoder.find("reduction"); reduction && reduction->is_string()) only("reduction", "");
  read_context(encoder, c);
  check(encoder, c);
  return c;
}

FastConformerConfig FastConformerConfig::from_transformers(const Config& encoder) {
  FastConformerConfig c{};
  const auto integer = [&](const char* key, int fallback, int high) {
    return static_cast<int>(encoder.integer_or(key, fallback, 1, high));
  };
  c.mels = integer("num_mel_bins", 80, 1024);
  c.layers = integer("num_hidden_layers", 24, 1024);
  c.hidden = integer("hidden_size", 1024, 1 << 16);
  c.heads = integer("num_attention_heads", 8, 1024);
  c.inner = integer("intermediate_size", 4096, 1 << 18);
  c.kernel = integer("conv_kernel_size", 9, 1024);
  c.factor = integer("subsampling_factor", 8, 64);
  c.channels = integer("subsampling_conv_channels", 256, 1 << 14);
  c.bias = encoder.flag_or("attention_bias", true);
  c.scales_input = encoder.flag_or("scale_input", true);
  c.depthwise = true;
  const std::string activation = encoder.text_or("hidden_act", "silu");
  if (activation != "silu") throw unsupported(encoder, "hidden_act", activation);
  if (encoder.flag_or("convolution_bias", c.bias) != c.bias) {
    throw encoder.bad("convolution_bias", "must be attention_bias");
  }
  if (integer("subsampling_conv_kernel_size", 3, 64) != 3)
    throw encoder.bad("subsampling_conv_kernel_size", "must be 3");
  if (integer("subsampling_conv_stride", 2, 64) != 2) throw encoder.bad("subsampling_conv_stride", "must be 2");
  check(encoder, c);
  return c;
}

std::string nemo_encoder_name(std::string name) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"encoder.subsampling.layers.", "encoder.pre_encode.conv."},
      {"encoder.subsampling.linear.", "encoder.pre_encode.out."},
      {".self_attn.q_proj.", ".self_attn.linear_q."},
      {".self_attn.k_proj.", ".self_attn.linear_k."},
      {".self_attn.v_proj.", ".self_attn.linear_v."},
      {".self_attn.o_proj.", ".self_attn.linear_out."},
      {".self_attn.relative_k_proj.", ".self_attn.linear_pos."},
      {".self_attn.bias_u", ".self_attn.pos_bias_u"},
      {".self_attn.bias_v", ".self_attn.pos_bias_v"},
      {".conv.norm.", ".conv.batch_norm."},
  };
  if (name.starts_with("model.")) name.erase(0, std::strlen("model."));
  if (!name.starts_with("encoder.")) return name;
  for (const auto& [from, to] : kNames) {
    const size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, std::strlen(from), to);
  }
  return name;
}

struct FastConformer::Block {
  Block(const FastConformerConfig& c, const WeightPath& path)
      : first(half_mlp(c, path / "norm_feed_forward1", path / "feed_forward1")),
        attention(c, path / "norm_self_att", path / "self_attn"),
        conv(c, path / "norm_conv", path / "conv"),
        second(half_mlp(c, path / "norm_feed_forward2", path / "feed_forward2")),
        norm(path / "norm_out", c.hidden, kEps) {}

  mx::array operator()(const mx::array& x, const Neighbourhood& near) const {
    return norm(second(conv(attention(first(x), near))));
  }

  MlpResidual first;
  RelativeAttention attention;
  ConvModule conv;
  MlpResidual second;
  LayerNorm norm;
};

FastConformer::FastConformer(const FastConformerConfig& c, const WeightPath& path)
    : c_(c),
      type_(path.weights().activation_type()),
      convs_(make_convs(c, path / "pre_encode" / "conv")),
      out_(path / "pre_encode" / "out", c.channels * frequencies(c), c.hidden, true) {
  // PyTorch counts the batches of a batch norm's statistics.
  path.weights().drop([](const std::string& name) { return name.ends_with(".num_batches_tracked"); });
  for (int i = 0; i < c.layers; ++i) blocks_.emplace_back(c, path / "layers" / i);
}

FastConformer::~FastConformer() = default;
FastConformer::FastConformer(FastConformer&&) noexcept = default;

int FastConformer::frames_of(int features) const {
  for (int factor = c_.factor; factor > 1; factor /= 2) features = halved(features);
  return features;
}

mx::array FastConformer::operator()(const mx::array& features, std::vector<mx::array>& stages) const {
  if (features.ndim() != 3 || features.shape(0) != 1 || features.shape(1) < 1 || features.shape(2) != c_.mels) {
    throw unfit_audio(fmt::format("features must be [1, n, {}]", c_.mels));
  }
  mx::array x = mx::expand_dims(mx::astype(features, type_), 3);
  const mx::array zero(0.0F, type_);
  for (size_t i = 0; i < convs_.size(); ++i) {
    x = convs_[i](x);
    // A depthwise convolution and the pointwise one after it have one activation.
    const bool inner = c_.depthwise && i % 2 == 1;
    if (!inner) x = mx::maximum(x, zero);
    stages.push_back(x);
  }
  const int n = x.shape(1);
  x = out_(mx::reshape(mx::transpose(x, {0, 1, 3, 2}), {1, n, -1}));
  if (c_.scales_input) x = mx::multiply(x, mx::array(std::sqrt(static_cast<float>(c_.hidden)), type_));
  const Neighbourhood near{distances(n, c_.hidden, type_), neighbours(c_, n)};
  for (const Block& block : blocks_) {
    x = block(x, near);
    stages.push_back(x);
  }
  return x;
}

}  // namespace mlxk
