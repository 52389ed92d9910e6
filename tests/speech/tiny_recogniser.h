#pragma once

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "backend/mlx_backend.h"
#include "base/error.h"
#include "base/testing/test_paths.h"
#include "mlx/ops.h"
#include "models/audio/seq2seq_net.h"
#include "models/load.h"
#include "probe/model_info.h"
#include "speech/any_vocabulary.h"
#include "speech/frame_transcribe.h"
#include "speech/seq2seq_transcribe.h"
#include "tiny_recordings.h"
#include "worker/model_handle.h"
#include "worker/worker.h"

namespace mlxk::testing {

/// A golden of tests/data/<family>_models.
inline Json recogniser_golden(const std::string& family, const std::string& name) {
  return read_json(golden::fs::path(test_tree::kTestData) / (family + "_models") / (name + ".json"));
}

/// The model of a golden in a folder of its own, loaded on first use.
class TinyRecogniser {
 public:
  TinyRecogniser(const Json& golden, const std::string& name) : folder_(write_recogniser(golden, name)) {}
  ~TinyRecogniser() { golden::fs::remove_all(folder_); }
  TinyRecogniser(const TinyRecogniser&) = delete;
  TinyRecogniser& operator=(const TinyRecogniser&) = delete;

  const golden::fs::path& folder() const { return folder_; }
  Worker& worker() { return worker_; }
  const std::shared_ptr<const ModelHandle>& model() {
    if (!model_) model_ = worker_.load(ModelKind::speech, folder_);
    return model_;
  }

  Transcript run(std::vector<float> samples, const TranscribeOptions& options = {},
                 const TranscribeEvents& events = {}) {
    Samples source(std::move(samples));
    const auto vocabulary = load_speech_vocabulary(folder_, model()->facts());
    if (const auto* frames = std::get_if<std::shared_ptr<const FrameVocabulary>>(&vocabulary)) {
      return transcribe_frames({worker_, model_, *frames}, source, options, events);
    }
    return transcribe_seq2seq({worker_, model_, std::get<std::shared_ptr<const Seq2SeqVocabulary>>(vocabulary)}, source,
                              options, events);
  }

  /// What Probe says of it.
  ModelInfo probe() const {
    ModelRef ref;
    ref.name = "tiny";
    ref.cached = false;
    ref.path = folder_;
    return probe_model(ref);
  }

 private:
  golden::fs::path folder_;
  Worker worker_{[] { return std::make_unique<MlxBackend>(); }};
  std::shared_ptr<const ModelHandle> model_;
};

/// A test of one golden, "<family>/<name>".
class RecogniserTest : public ::testing::Test {
 protected:
  void open(const std::string& family, const std::string& name) {
    family_ = family;
    open(recogniser_golden(family, name));
  }
  /// Replaces the model.
  void open(Json golden) {
    golden_ = std::move(golden);
    tiny_.reset();
    tiny_ = std::make_unique<TinyRecogniser>(golden_, family_);
  }

  std::string family_;
  Json golden_;
  std::unique_ptr<TinyRecogniser> tiny_;
};

inline std::vector<int32_t> tokens_of(const Transcript& transcript) {
  std::vector<int32_t> ids;
  for (const auto& segment : transcript.segments) ids.insert(ids.end(), segment.tokens.begin(), segment.tokens.end());
  return ids;
}

/// The message with which the model of `golden` or its `Vocabulary` is refused; empty: it is not.
template <class Vocabulary>
std::string refusal_of(const Json& golden) {
  const TinyRecogniser tiny(golden, "refused");
  try {
    const auto net = load_speech_net(tiny.folder());
    Vocabulary::load(tiny.folder(), net->shape().vocab_size);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

/// Greedy, and never again at another temperature: texts of random weights are guesses.
inline TranscribeOptions greedy() {
  TranscribeOptions options;
  options.temperatures = {0};
  return options;
}

inline std::vector<float> floats_of(const mx::array& array) {
  mx::array whole = mx::contiguous(mx::astype(array, mx::float32));
  whole.eval();
  return {whole.data<float>(), whole.data<float>() + whole.size()};
}

/// The encoder's frames of `features`.
inline mx::array frames_of(const SpeechNet& net, const std::vector<float>& features) {
  const int mels = net.shape().mels, n = static_cast<int>(features.size()) / mels;
  return net.encode(mx::array(features.data(), {1, n, mels}, mx::float32)).frames;
}

/// The logits of `ids` after the encoder's `frames`.
inline std::vector<float> logits_of(const Seq2SeqNet& net, const mx::array& frames, const std::vector<int32_t>& ids) {
  const auto window = net.window_keys(frames);
  ModelCache cache = net.make_cache(1);
  return floats_of(
      net.forward(mx::array(ids.data(), {1, static_cast<int>(ids.size())}, mx::int32), cache, {&window}, false));
}

/// The tensors of a golden, with every matrix that fits packed into 8 bits in groups of 32 in the first, and as the
/// same numbers in the second.
inline std::pair<std::unordered_map<std::string, mx::array>, std::unordered_map<std::string, mx::array>>
packed_and_plain(const Json& golden) {
  std::unordered_map<std::string, mx::array> packed, plain;
  for (const auto& [name, description] : golden["tensors"].items()) {
    const mx::array tensor = golden::tensor(name, description);
    const bool fits = tensor.ndim() == 2 && tensor.shape(1) % 32 == 0 && name.ends_with(".weight");
    if (!fits) {
      packed.emplace(name, tensor);
      plain.emplace(name, tensor);
      continue;
    }
    const auto parts = mx::quantize(tensor, 32, 8);
    const std::string path = name.substr(0, name.rfind('.'));
    packed.emplace(name, parts[0]);
    packed.emplace(path + ".scales", parts[1]);
    packed.emplace(path + ".biases", parts[2]);
    plain.emplace(name, mx::dequantize(parts[0], parts[1], parts[2], 32, 8));
  }
  return {packed, plain};
}

/// Calls values(folder) for the model of `golden` with packed weights and for the same numbers unpacked, and compares.
template <class Values>
void expect_packed_is_plain(const Json& golden, const Values& values, float tolerance) {
  const auto [packed, plain] = packed_and_plain(golden);
  ASSERT_GT(packed.size(), plain.size());
  const TinyRecogniser one(golden, "packed"), other(golden, "unpacked");
  mx::save_safetensors((one.folder() / "model.safetensors").string(), packed);
  mx::save_safetensors((other.folder() / "model.safetensors").string(), plain);
  Json config = golden["config"];
  config["quantization"] = {{"group_size", 32}, {"bits", 8}};
  std::ofstream(one.folder() / "config.json") << config.dump();
  const std::vector<float> got = values(one.folder()), wanted = values(other.folder());
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted[i], tolerance * std::max(1.0F, std::abs(wanted[i]))) << i;
  }
}

}  // namespace mlxk::testing
