#include "models/audio/parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numeric>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/vision/parts.h"

namespace mlxk {
namespace {

constexpr VisionDefaults kWhisperLarge{1280, 5120, 32, 20, 1, 1, "gelu", 1e-5};

mx::array positions_at(const WeightPath& path, const AudioConfig& c, mx::Dtype type) {
  if (!path.has("embed_positions.weight")) return sinusoids(c.positions, c.hidden_size, type);
  return mx::expand_dims(take_table(path / "embed_positions", c.positions, c.hidden_size), 0);
}

}  // namespace

const WeightPath& with_channels_last(const WeightPath& path, int in, int width) {
  auto& tensors = path.weights().tensors();
  const auto found = tensors.find((path / "weight").path());
  if (found != tensors.end() && found->second.ndim() == 3 && found->second.shape(1) == in &&
      found->second.shape(2) == width) {
    found->second = mx::contiguous(mx::transpose(found->second, {0, 2, 1}));
  }
  return path;
}

AudioConfig AudioConfig::read(const Config& config) {
  const Config audio = with_keys(config.object("audio_config"), {{"d_model", "hidden_size"},
                                                                 {"encoder_ffn_dim", "intermediate_size"},
                                                                 {"encoder_layers", "num_hidden_layers"},
                                                                 {"encoder_attention_heads", "num_attention_heads"},
                                                                 {"activation_function", "hidden_act"}});
  AudioConfig c{VisionConfig::read(audio, kWhisperLarge), 0, 0};
  if (c.hidden_size % 2 != 0) throw audio.bad("hidden_size", fmt::format("must be even, got {}", c.hidden_size));
  c.mels = static_cast<int>(audio.integer_or("num_mel_bins", 128, 1, 1024));
  c.positions = static_cast<int>(audio.integer_or("max_source_positions", 1500, 1, 1 << 16));
  return c;
}

VitOptions whisper_blocks(bool k_bias) {
  return {.names = {.norm1 = "self_attn_layer_norm", .norm2 = "final_layer_norm", .out = "out_proj", .mlp = ""},
          .k_bias = k_bias};
}

mx::array sinusoids(int positions, int width, mx::Dtype type) {
  std::vector<int> all(static_cast<size_t>(positions));
  std::iota(all.begin(), all.end(), 0);
  return mx::expand_dims(sinusoids(all, width, type), 0);
}

mx::array sinusoids(const std::vector<int>& positions, int width, mx::Dtype type) {
  const int half = width / 2;
  std::vector<float> values(positions.size() * static_cast<size_t>(width));
  for (int i = 0; i < half; ++i) {
    const float step = std::exp(-static_cast<float>(std::log(10000.0) / (half - 1)) * static_cast<float>(i));
    for (size_t p = 0; p < positions.size(); ++p) {
      const size_t row = p * static_cast<size_t>(width);
      values[row + static_cast<size_t>(i)] = std::sin(static_cast<float>(positions[p]) * step);
      values[row + static_cast<size_t>(half + i)] = std::cos(static_cast<float>(positions[p]) * step);
    }
  }
  return mx::astype(mx::array(values.data(), {static_cast<int>(positions.size()), width}, mx::float32), type);
}

WhisperTower::WhisperTower(const AudioConfig& c, const WeightPath& path, mx::Dtype type)
    : conv1_(with_channels_last(path / "conv1", c.mels, 3), c.mels, c.hidden_size, 3, {1, 1}, true),
      conv2_(with_channels_last(path / "conv2", c.hidden_size, 3), c.hidden_size, c.hidden_size, 3, {2, 1}, true),
      positions_(positions_at(path, c, type)),
      blocks_(c, whisper_blocks(false), path / "layers", c.num_hidden_layers) {}

mx::array WhisperTower::operator()(const mx::array& features, int length, std::vector<mx::array>& stages) const {
  mx::array x = activate(Activation::gelu, conv1_(features));
  x = activate(Activation::gelu, conv2_(x));
  x = mx::add(x, mx::astype(positions_, x.dtype()));
  stages.push_back(x);
  if (length < x.shape(1)) x = mx::slice(x, {0, 0, 0}, {1, length, x.shape(2)});
  return blocks_(x, {}, stages);
}

Error unfit_audio(const std::string& what) { return Error(ErrorKind::invalid, "[audio] " + what); }

std::vector<mx::array> windows_of(const MediaData& data, int frames, int mels, mx::Dtype type) {
  const auto& s = data.shape;
  const bool fits = s.size() == 3 && s[0] > 0 && s[1] > 0 && (frames == 0 || s[1] == frames) && s[2] == mels;
  const size_t one = fits ? size_t(s[1]) * size_t(s[2]) : 0;
  if (!fits || data.values.size() != one * size_t(s[0])) {
    throw unfit_audio(fmt::format("features must be [windows, {}, {}], got [{}] with {} values",
                                  frames == 0 ? "frames" : std::to_string(frames), mels, fmt::join(s, ", "),
                                  data.values.size()));
  }
  std::vector<mx::array> windows;
  for (size_t i = 0; i < size_t(s[0]); ++i) {
    windows.push_back(mx::astype(mx::array(data.values.data() + i * one, {1, s[1], s[2]}, mx::float32), type));
  }
  return windows;
}

void strip_prefix(Weights& weights, const std::string& prefix) {
  Weights::Tensors renamed;
  for (auto& [name, tensor] : weights.tensors()) {
    renamed.emplace(name.starts_with(prefix) ? name.substr(prefix.size()) : name, std::move(tensor));
  }
  weights.tensors() = std::move(renamed);
}

}  // namespace mlxk
