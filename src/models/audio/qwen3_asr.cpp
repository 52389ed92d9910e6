// Qwen3-ASR's encoder (transformers' qwen3_asr): three convolutions over each second of features, positions that
// restart with each, blocks that attend within windows of some seconds, two projections. Features are [1, frames,
// mels].
#include <fmt/format.h>

#include <algorithm>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/parts.h"
#include "models/registry.h"
#include "models/vision/chosen_states.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

struct Qwen3AsrConfig : AudioConfig {
  int chunk, window;  // frames
  int channels, out;
};

int half(int n) { return (n - 1) / 2 + 1; }
int eighth(int n) { return half(half(half(n))); }

Qwen3AsrConfig read_qwen3_asr(const Config& config) {
  const Config audio = config.object("audio_config");
  Qwen3AsrConfig c{AudioConfig::read(config), 0, 0, 0, 0};
  c.chunk = 2 * static_cast<int>(audio.integer_or("n_window", 50, 1, 1 << 12));
  c.window = static_cast<int>(audio.integer_or("n_window_infer", 800, 1, 1 << 16));
  if (c.window % c.chunk != 0) {
    throw audio.bad("n_window_infer", fmt::format("must be a multiple of {}, got {}", c.chunk, c.window));
  }
  c.channels = static_cast<int>(audio.integer_or("downsample_hidden_size", 480, 1, 1 << 14));
  c.out = static_cast<int>(audio.integer_or("output_dim", 3584, 1, 1 << 16));
  if (c.out != text_hidden_size(config, 2048)) {
    throw audio.bad("output_dim",
                    fmt::format("must be hidden_size of the text, {}, got {}", text_hidden_size(config, 2048), c.out));
  }
  return c;
}

Conv2d stem_conv(const WeightPath& path, int in, int out) {
  put_channels_last(path, in, 3, 3);
  return Conv2d(path, in, out, {3, 3}, {.stride = {2, 2}, .padding = {1, 1}}, true);
}

/// The projector's matrices are in the tower in published checkpoints, separate in those of transformers.
Projector projector(const Qwen3AsrConfig& c, Weights& weights, const WeightPath& tower) {
  if (tower.has("proj1.weight"))
    return Projector(tower, c.hidden_size, c.hidden_size, c.out, c.activation, true, "proj1", "proj2");
  return Projector(find_projector(weights, "linear_1"), c.hidden_size, c.hidden_size, c.out, c.activation, true);
}

class Qwen3AsrEncoder : public MediaEncoder {
 public:
  Qwen3AsrEncoder(const Qwen3AsrConfig& c, Weights& weights, const WeightPath& path)
      : type_(weights.activation_type()),
        c_(c),
        conv1_(stem_conv(path / "conv2d1", 1, c.channels)),
        conv2_(stem_conv(path / "conv2d2", c.channels, c.channels)),
        conv3_(stem_conv(path / "conv2d3", c.channels, c.channels)),
        out_(path / "conv_out", c.channels * eighth(c.mels), c.hidden_size, false),
        positions_(sinusoids(eighth(c.chunk), c.hidden_size, type_)),
        blocks_(c, whisper_blocks(true), path / "layers", c.num_hidden_layers),
        norm_(path / "ln_post", c.hidden_size, c.eps),
        projector_(projector(c, weights, path)) {}

  EncodedMedia encode(const MediaData& data) const override {
    const std::vector<mx::array> windows = windows_of(data, 0, c_.mels, type_);
    if (windows.size() != 1) throw unfit_audio("it must be one window");
    const int frames = windows[0].shape(1), chunks = (frames + c_.chunk - 1) / c_.chunk;
    std::vector<mx::array> parts, stages;
    for (int i = 0; i < chunks; ++i) {
      const int begin = i * c_.chunk, end = std::min(frames, begin + c_.chunk);
      mx::array chunk = mx::slice(windows[0], {0, begin, 0}, {1, end, c_.mels});
      if (end < begin + c_.chunk) chunk = mx::pad(chunk, {{0, 0}, {0, begin + c_.chunk - end}, {0, 0}});
      parts.push_back(begun(chunk, eighth(end - begin)));
      stages.push_back(parts.back());
    }
    const mx::array x = mx::concatenate(parts, 1);
    const int most = c_.window / c_.chunk * eighth(std::min(frames, c_.chunk));
    PatchOrder order;
    if (x.shape(1) / most > 0) order.segments.push_back({x.shape(1) / most, most});
    if (x.shape(1) % most > 0) order.segments.push_back({1, x.shape(1) % most});
    const mx::array features = without_batch(projector_(norm_(blocks_(x, order, stages))));
    stages.push_back(features);
    return {features, {}, std::move(stages)};
  }

 private:
  /// The output of the convolutions for a chunk [1, frames, mels]: the first `length` vectors.
  mx::array begun(const mx::array& chunk, int length) const {
    // [1, mels, frames, 1]: transformers' convolutions are square, so only the order of the flattened axes matters.
    mx::array x = mx::expand_dims(mx::transpose(chunk, {0, 2, 1}), 3);
    for (const Conv2d* conv : {&conv1_, &conv2_, &conv3_}) x = activate(Activation::gelu, (*conv)(x));
    const int bands = x.shape(1), steps = x.shape(2);
    x = out_(mx::reshape(mx::transpose(x, {0, 2, 3, 1}), {1, steps, c_.channels * bands}));
    x = mx::add(x, mx::astype(positions_, x.dtype()));
    return mx::slice(x, {0, 0, 0}, {1, length, c_.hidden_size});
  }

  mx::Dtype type_;
  Qwen3AsrConfig c_;
  Conv2d conv1_, conv2_, conv3_;
  Linear out_;
  mx::array positions_;
  Vit blocks_;
  LayerNorm norm_;
  Projector projector_;
};

}  // namespace

std::unique_ptr<MediaEncoder> make_qwen3_asr_audio(const Config& config, Weights& weights) {
  strip_prefix(weights, "thinker.");
  const Config own = config.has("thinker_config") ? config.object("thinker_config") : config;
  const WeightPath path = find_path(weights, {"audio_tower", "model.audio_tower"}, "conv2d1.weight");
  return std::make_unique<Qwen3AsrEncoder>(read_qwen3_asr(own), weights, path);
}

}  // namespace mlxk
