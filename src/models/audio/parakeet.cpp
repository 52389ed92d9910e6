// Parakeet: a FastConformer with a head that scores its frames one after the other: CTC, a transducer, or a
// token-and-duration transducer. config.json is NeMo's model configuration, or transformers' (parakeet_ctc,
// parakeet_rnnt, parakeet_tdt), whose tensors get NeMo's names. A hybrid model decodes with its transducer.
#include <fmt/format.h>

#include <cstring>

#include "json/json.h"
#include "mlx/ops.h"
#include "models/audio/fast_conformer.h"
#include "models/audio/frame_net.h"
#include "models/registry.h"
#include "nn/activation.h"

namespace mlxk {
namespace {

constexpr int kWide = 1 << 16, kMaxVocab = 1 << 22;

struct ParakeetConfig {
  std::string model_type;
  FastConformerConfig encoder;
  int vocab = 0;
  bool transducer = false;
  std::vector<int> durations;
  int max_symbols = 10;
  int predictor = 0, predictor_layers = 0, joint = 0;
  Activation activation = Activation::relu;
};

std::vector<int> read_durations(const Config& config, const char* key) {
  std::vector<int> durations;
  const Json* list = config.find(key);
  if (!list) return durations;
  const auto bad = [&] { return config.bad(key, "must be a list of 1 to 64 numbers of frames from 0 to 1024"); };
  if (!list->is_array() || list->empty() || list->size() > 64) throw bad();
  for (const Json& one : *list) {
    if (!one.is_number_integer() || one < 0 || one > 1024) throw bad();
    durations.push_back(one.get<int>());
  }
  return durations;
}

/// The number of pieces in the list `vocabulary` of `section`.
int count_pieces(const Config& section) {
  const Json* list = section.find("vocabulary");
  if (!list || !list->is_array() || list->empty()) throw section.bad("vocabulary", "must be a list of pieces");
  return static_cast<int>(list->size());
}

Activation joint_activation(const Config& config, const char* key) {
  const std::string name = config.text_or(key, "relu");
  if (name == "relu") return Activation::relu;
  if (name == "tanh") return Activation::tanh;
  if (name == "sigmoid") return Activation::sigmoid;
  throw Error(ErrorKind::unsupported, fmt::format("[{}] {} '{}' is not built in", config.place(), key, name));
}

ParakeetConfig from_nemo(const Config& config) {
  ParakeetConfig c;
  c.model_type = "parakeet";
  if (config.has("ternary_modules")) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] ternary_modules: ternary weights are not built in", config.place()));
  }
  c.encoder = FastConformerConfig::from_nemo(config.object("encoder"));
  c.transducer = config.has("joint");
  const Config decoder = config.object("decoder");
  if (!c.transducer) {
    c.vocab = count_pieces(decoder);
    return c;
  }
  const Config joint = config.object("joint"), jointnet = joint.object("jointnet"), prednet = decoder.object("prednet");
  c.vocab = count_pieces(joint);
  c.joint = static_cast<int>(jointnet.integer("joint_hidden", 1, kWide));
  c.activation = joint_activation(jointnet, "activation");
  c.predictor = static_cast<int>(prednet.integer("pred_hidden", 1, kWide));
  c.predictor_layers = static_cast<int>(prednet.integer_or("pred_rnn_layers", 1, 1, 64));
  if (prednet.integer_or("rnn_hidden_size", c.predictor, -1, kWide) != c.predictor && prednet.has("rnn_hidden_size") &&
      prednet.integer("rnn_hidden_size", -1, kWide) > 0) {
    throw prednet.bad("rnn_hidden_size", fmt::format("must be pred_hidden, {}", c.predictor));
  }
  if (!decoder.flag_or("blank_as_pad", true)) {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] blank_as_pad false is not built in", decoder.place()));
  }
  if (config.has("decoding")) {
    const Config decoding = config.object("decoding");
    c.durations = read_durations(decoding, "durations");
    if (decoding.has("greedy")) {
      c.max_symbols = static_cast<int>(decoding.object("greedy").integer_or("max_symbols", 10, 1, 1024));
    }
  }
  if (c.durations.empty() && config.has("model_defaults")) {
    c.durations = read_durations(config.object("model_defaults"), "tdt_durations");
  }
  const auto extra = joint.integer_or("num_extra_outputs", static_cast<int64_t>(c.durations.size()), 0, 64);
  if (static_cast<size_t>(extra) != c.durations.size()) {
    throw joint.bad("num_extra_outputs", fmt::format("must be the {} durations, got {}", c.durations.size(), extra));
  }
  return c;
}

ParakeetConfig from_transformers(const Config& config) {
  ParakeetConfig c;
  c.model_type = config.text_or("model_type", "");
  c.encoder = FastConformerConfig::from_transformers(config.object("encoder_config"));
  c.transducer = c.model_type != "parakeet_ctc";
  const int all = static_cast<int>(config.integer("vocab_size", 2, kMaxVocab));
  c.vocab = all - 1;
  const char* blank = c.transducer ? "blank_token_id" : "pad_token_id";
  if (config.integer_or(blank, c.vocab, 0, kMaxVocab) != c.vocab) {
    throw config.bad(blank, fmt::format("must be the last token, {}", c.vocab));
  }
  if (!c.transducer) return c;
  c.joint = c.predictor = static_cast<int>(config.integer_or("decoder_hidden_size", 640, 1, kWide));
  c.predictor_layers = static_cast<int>(config.integer_or("num_decoder_layers", 2, 1, 64));
  c.activation = joint_activation(config, "hidden_act");
  c.max_symbols = static_cast<int>(config.integer_or("max_symbols_per_step", 10, 1, 1024));
  if (c.model_type == "parakeet_tdt") {
    c.durations = read_durations(config, "durations");
    if (c.durations.empty()) c.durations = {0, 1, 2, 3, 4};
  }
  return c;
}

/// transformers' names as NeMo's.
std::string nemo_name(const std::string& given) {
  constexpr std::pair<const char*, const char*> kNames[] = {
      {"encoder_projector.", "joint.enc."},
      {"decoder.decoder_projector.", "joint.pred."},
      {"joint.head.", "joint.joint_net.2."},
      {"decoder.embedding.", "decoder.prediction.embed."},
      {"decoder.lstm.", "decoder.prediction.dec_rnn.lstm."},
      {"ctc_head.", "decoder.decoder_layers.0."},
  };
  std::string name = nemo_encoder_name(given);
  for (const auto& [from, to] : kNames) {
    const size_t at = name.find(from);
    if (at != std::string::npos) name.replace(at, std::strlen(from), to);
  }
  return name;
}

/// Brings the tensors of an LSTM at `path` into the form of two matrices for each layer, Wx with the bias, and Wh.
void sanitize_lstm(Weights& weights, const std::string& path, int layers) {
  auto& tensors = weights.tensors();
  const auto rename = [&](const std::string& from, const std::string& to) {
    auto node = tensors.extract(from);
    if (node.empty()) return;
    node.key() = to;
    tensors.insert(std::move(node));
  };
  for (int i = 0; i < layers; ++i) {
    const std::string own = fmt::format("{}.{}.", path, i);
    rename(own + "Wx", own + "Wx.weight");
    rename(own + "Wh", own + "Wh.weight");
    rename(own + "bias", own + "Wx.bias");
    rename(fmt::format("{}.weight_ih_l{}", path, i), own + "Wx.weight");
    rename(fmt::format("{}.weight_hh_l{}", path, i), own + "Wh.weight");
    const auto first = tensors.find(fmt::format("{}.bias_ih_l{}", path, i)),
               second = tensors.find(fmt::format("{}.bias_hh_l{}", path, i));
    if (first == tensors.end() || second == tensors.end() || first->second.shape() != second->second.shape()) continue;
    const mx::array sum = mx::add(first->second, second->second);
    tensors.erase(first);
    tensors.erase(second);
    tensors.insert_or_assign(own + "Wx.bias", sum);
  }
}

void sanitize(const ParakeetConfig& c, Weights& weights) {
  if (c.model_type != "parakeet") {
    Weights::Tensors renamed;
    for (auto& [name, tensor] : weights.tensors()) renamed.emplace(nemo_name(name), std::move(tensor));
    weights.tensors() = std::move(renamed);
  }
  // A hybrid model's second head, and what NeMo keeps beside the weights.
  weights.drop(
      [](const std::string& name) { return name.starts_with("ctc_decoder.") || name.starts_with("preprocessor."); });
  // NeMo's PyTorch names of the LSTM have one level more.
  sanitize_lstm(weights, "decoder.prediction.dec_rnn.lstm", c.predictor_layers);
  const auto head = weights.tensors().find("decoder.decoder_layers.0.weight");
  if (head != weights.tensors().end() && head->second.ndim() == 3) head->second = mx::flatten(head->second, 1, 2);
}

/// One layer of an LSTM; gates are in the order input, forget, cell, output.
struct LstmLayer {
  LstmLayer(const WeightPath& path, int hidden)
      : hidden(hidden), in(path / "Wx", hidden, 4 * hidden, true), back(path / "Wh", hidden, 4 * hidden, false) {}

  /// x, h and c [R, hidden]; replaces h and c, and returns h.
  mx::array operator()(const mx::array& x, mx::array& h, mx::array& c) const {
    const auto gates = mx::split(mx::add(in(x), back(h)), 4, 1);
    c = mx::add(mx::multiply(mx::sigmoid(gates[1]), c), mx::multiply(mx::sigmoid(gates[0]), mx::tanh(gates[2])));
    h = mx::multiply(mx::sigmoid(gates[3]), mx::tanh(c));
    return h;
  }

  int hidden;
  Linear in, back;
};

/// The prediction network and the joint network.
struct Transducer {
  Transducer(const ParakeetConfig& c, const WeightPath& root)
      : blank(c.vocab),
        hidden(c.predictor),
        type(root.weights().activation_type()),
        activation(c.activation),
        embedding(root / "decoder" / "prediction" / "embed", c.vocab + 1, c.predictor),
        encoded(root / "joint" / "enc", c.encoder.hidden, c.joint, true),
        predicted(root / "joint" / "pred", c.predictor, c.joint, true),
        head(root / "joint" / "joint_net" / 2, c.joint, c.vocab + 1 + static_cast<int>(c.durations.size()), true) {
    const WeightPath lstm = root / "decoder" / "prediction" / "dec_rnn" / "lstm";
    for (int i = 0; i < c.predictor_layers; ++i) layers.emplace_back(lstm / i, c.predictor);
  }

  int blank, hidden;
  mx::Dtype type;
  Activation activation;
  Embedding embedding;
  std::vector<LstmLayer> layers;
  Linear encoded, predicted, head;
};

class Parakeet : public FrameNet {
 public:
  Parakeet(const ParakeetConfig& c, const WeightPath& root)
      : FrameNet({.model_type = c.model_type, .vocab_size = c.vocab, .mels = c.encoder.mels},
                 {c.vocab, c.transducer, c.durations, c.max_symbols}),
        encoder_(c.encoder, root / "encoder") {
    if (c.transducer) {
      transducer_.emplace(c, root);
    } else {
      ctc_.emplace(root / "decoder" / "decoder_layers" / 0, c.encoder.hidden, c.vocab + 1, true);
    }
  }

  EncodedAudio encode(const mx::array& features) const override {
    std::vector<mx::array> stages;
    const mx::array x = encoder_(features, stages);
    const mx::array frames = mx::astype(transducer_ ? transducer_->encoded(x) : (*ctc_)(x), mx::float32);
    stages.push_back(frames);
    return {frames, std::move(stages)};
  }

  int frames_of(int features) const override { return encoder_.frames_of(features); }

  std::pair<int, int> state_shape() const override {
    return transducer_ ? std::pair(2 * static_cast<int>(transducer_->layers.size()), transducer_->hidden)
                       : std::pair(0, 0);
  }

  std::vector<Prediction> predict(const std::vector<int32_t>& last,
                                  const std::vector<std::vector<mx::array>>& states) const override {
    const Transducer& t = *transducer_;
    const int rows = static_cast<int>(last.size());
    mx::array x = mx::squeeze(t.embedding(mx::array(last.data(), {1, rows}, mx::int32)), 0);
    // Before the first token the input is nothing, whatever the blank's row holds.
    std::vector<float> counts;
    for (const int32_t id : last) counts.push_back(id == t.blank ? 0.0F : 1.0F);
    x = mx::multiply(x, mx::astype(mx::array(counts.data(), {rows, 1}, mx::float32), x.dtype()));
    const mx::array zeros = mx::zeros({1, t.hidden}, t.type);
    std::vector<mx::array> state;
    for (size_t i = 0; i < 2 * t.layers.size(); ++i) {
      std::vector<mx::array> parts;
      for (const auto& own : states) parts.push_back(own.empty() ? zeros : mx::astype(own[i], t.type));
      state.push_back(rows == 1 ? parts[0] : mx::concatenate(parts, 0));
    }
    for (size_t i = 0; i < t.layers.size(); ++i) x = t.layers[i](x, state[2 * i], state[2 * i + 1]);
    const mx::array out = t.predicted(x);
    std::vector<Prediction> predictions;
    for (int r = 0; r < rows; ++r) {
      const auto row = [&](const mx::array& all) {
        return rows == 1 ? all : mx::contiguous(mx::slice(all, {r, 0}, {r + 1, all.shape(1)}));
      };
      Prediction one{row(out), {}};
      for (const mx::array& all : state) one.state.push_back(row(all));
      predictions.push_back(std::move(one));
    }
    return predictions;
  }

  mx::array join(const mx::array& frames, const mx::array& predictions) const override {
    const Transducer& t = *transducer_;
    return mx::astype(t.head(activate(t.activation, mx::add(mx::astype(frames, t.type), predictions))), mx::float32);
  }

 private:
  FastConformer encoder_;
  std::optional<Transducer> transducer_;
  std::optional<Linear> ctc_;
};

std::unique_ptr<SpeechNet> make(const Config& config, Weights& weights) {
  const ParakeetConfig c = config.has("encoder_config") ? from_transformers(config) : from_nemo(config);
  sanitize(c, weights);
  return std::make_unique<Parakeet>(c, WeightPath(weights));
}

}  // namespace

std::unique_ptr<SpeechNet> make_parakeet(const Config& config, Weights& weights) { return make(config, weights); }
std::unique_ptr<SpeechNet> make_parakeet_ctc(const Config& config, Weights& weights) { return make(config, weights); }
std::unique_ptr<SpeechNet> make_parakeet_rnnt(const Config& config, Weights& weights) { return make(config, weights); }
std::unique_ptr<SpeechNet> make_parakeet_tdt(const Config& config, Weights& weights) { return make(config, weights); }

}  // namespace mlxk
