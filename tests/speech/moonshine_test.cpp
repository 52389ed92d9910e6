// Tiny Moonshines against tools/make_moonshine_goldens.py: the encoder's frames, the decoder's logits, the text; and
// how a long recording is cut.
#include <gtest/gtest.h>

#include "backend/mlx_backend.h"
#include "base/error.h"
#include "base/testing/test_paths.h"
#include "mlx/ops.h"
#include "models/audio/seq2seq_net.h"
#include "models/load.h"
#include "probe/model_info.h"
#include "speech/moonshine_transcribe.h"
#include "tiny_recordings.h"
#include "worker/model_handle.h"
#include "worker/worker.h"

namespace mlxk {
namespace {

namespace fs = std::filesystem;

using testing::expect_near;
using testing::golden_sound;
using testing::Samples;

Json golden_of(const std::string& name) {
  return read_json(fs::path(test_tree::kTestData) / "moonshine_models" / (name + ".json"));
}

/// Greedy, and never again at another temperature: texts of random weights are guesses.
TranscribeOptions greedy() {
  TranscribeOptions options;
  options.temperatures = {0};
  return options;
}

std::vector<float> floats(const mx::array& array) {
  mx::array whole = mx::contiguous(array);
  whole.eval();
  return {whole.data<float>(), whole.data<float>() + whole.size()};
}

class MoonshineGolden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    golden_ = golden_of(GetParam());
    folder_ = testing::write_recogniser(golden_, std::string("moonshine_") + GetParam());
  }
  void TearDown() override { fs::remove_all(folder_); }

  Json golden_;
  fs::path folder_;
};

// On the CPU the decoder reads the encoder's output in float16, and the errors of all tokens add up.
constexpr float kLogitTolerance = 1e-2F;

TEST_P(MoonshineGolden, FramesAndLogitsAreTheReferences) {
  const auto net = load_speech_net(folder_);
  const auto& decoder = dynamic_cast<const Seq2SeqNet&>(*net);
  for (const Json& clip : golden_["clips"]) {
    const auto samples = golden_sound(clip["samples"]);
    const auto encoded = decoder.encode(mx::array(samples.data(), {1, static_cast<int>(samples.size()), 1}));
    expect_near(floats(mx::astype(encoded.frames, mx::float32)), clip["frames"]);
    const auto window = decoder.window_keys(encoded.frames);
    const auto ids = clip["ids"].get<std::vector<int32_t>>();
    ModelCache cache = decoder.make_cache(1);
    const mx::array row(ids.data(), {1, static_cast<int>(ids.size())}, mx::int32);
    expect_near(floats(decoder.forward(row, cache, {&window}, false)), clip["logits"], kLogitTolerance);
  }
}

TEST_P(MoonshineGolden, TheTextIsTheReferences) {
  Worker worker([] { return std::make_unique<MlxBackend>(); });
  const auto model = worker.load(ModelKind::speech, folder_);
  const auto vocabulary = MoonshineVocabulary::load(folder_, model->facts().vocab_size);
  for (const Json& clip : golden_["clips"]) {
    SCOPED_TRACE(clip["samples"].dump());
    Samples source(golden_sound(clip["samples"]));
    const Transcript got = transcribe_moonshine({worker, model, vocabulary}, source, greedy());
    EXPECT_DOUBLE_EQ(got.duration, clip["samples"].get<double>() / 16000);
    ASSERT_EQ(got.segments.size(), 1U);
    const auto wanted = clip["tokens"].get<std::vector<int32_t>>();
    const size_t most = static_cast<size_t>(std::ceil(13 * got.duration));  // as in English twice over
    const std::vector<int32_t> begun(wanted.begin(),
                                     wanted.begin() + static_cast<int64_t>(std::min(most, wanted.size())));
    EXPECT_EQ(got.segments[0].tokens, begun);
    EXPECT_DOUBLE_EQ(got.segments[0].end, got.duration);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, MoonshineGolden, ::testing::Values("moonshine", "untied"));

class Moonshine : public ::testing::Test {
 protected:
  void SetUp() override { folder_ = testing::write_recogniser(golden_of("moonshine"), "moonshine"); }
  void TearDown() override { fs::remove_all(folder_); }
  fs::path folder_;
};

/// The logits of a clip's tokens by the model in `folder`.
std::vector<float> logits_of(const fs::path& folder, const Json& clip) {
  const auto net = load_speech_net(folder);
  const auto& decoder = dynamic_cast<const Seq2SeqNet&>(*net);
  const auto samples = golden_sound(clip["samples"]);
  const auto encoded = decoder.encode(mx::array(samples.data(), {1, static_cast<int>(samples.size()), 1}));
  const auto window = decoder.window_keys(encoded.frames);
  const auto ids = clip["ids"].get<std::vector<int32_t>>();
  ModelCache cache = decoder.make_cache(1);
  return floats(
      decoder.forward(mx::array(ids.data(), {1, static_cast<int>(ids.size())}, mx::int32), cache, {&window}, false));
}

TEST_F(Moonshine, PackedWeightsGiveWhatTheirNumbersGive) {
  const Json golden = golden_of("moonshine");
  std::unordered_map<std::string, mx::array> packed, plain;
  for (const auto& [name, description] : golden["tensors"].items()) {
    const mx::array tensor = golden::tensor(name, description);
    if (tensor.ndim() != 2 || tensor.shape(1) != 32) {
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
  const fs::path other = testing::write_recogniser(golden, "moonshine_packed");
  mx::save_safetensors((folder_ / "model.safetensors").string(), plain);
  mx::save_safetensors((other / "model.safetensors").string(), packed);
  Json config = golden["config"];
  config["quantization"] = {{"group_size", 32}, {"bits", 8}};
  std::ofstream(other / "config.json") << config.dump();
  const Json& clip = golden["clips"][0];
  const auto wanted = logits_of(folder_, clip), got = logits_of(other, clip);
  fs::remove_all(other);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], 5e-2F) << i;
}

TEST_F(Moonshine, ALongRecordingIsCutWhereItIsQuietest) {
  Worker worker([] { return std::make_unique<MlxBackend>(); });
  const auto model = worker.load(ModelKind::speech, folder_);
  const auto vocabulary = MoonshineVocabulary::load(folder_, model->facts().vocab_size);
  std::vector<float> samples = golden_sound(3 * 16000 * 24);
  samples.resize(size_t{16000} * 24);  // before its pause
  std::fill(samples.begin() + 16000 * 22, samples.begin() + 16000 * 22 + 3200, 0.0F);
  samples.insert(samples.end(), samples.begin(), samples.begin() + 16000 * 21);
  Samples source(samples);
  const Transcript got = transcribe_moonshine({worker, model, vocabulary}, source, greedy());
  ASSERT_EQ(got.segments.size(), 2U);
  EXPECT_EQ(got.segments[0].start, 0);
  EXPECT_NEAR(got.segments[0].end, 22.1, 0.06);
  EXPECT_EQ(got.segments[1].start, got.segments[0].end);
  EXPECT_EQ(got.segments[1].end, 45);
  TranscribeOptions options = greedy();
  options.clips = {{30, std::nullopt}};
  Samples again(samples);
  const Transcript clip = transcribe_moonshine({worker, model, vocabulary}, again, options);
  ASSERT_EQ(clip.segments.size(), 1U);
  EXPECT_EQ(clip.segments[0].start, 30);
}

TEST_F(Moonshine, SilenceAndAMomentHaveNoText) {
  Worker worker([] { return std::make_unique<MlxBackend>(); });
  const auto model = worker.load(ModelKind::speech, folder_);
  const auto vocabulary = MoonshineVocabulary::load(folder_, model->facts().vocab_size);
  for (const std::vector<float>& samples : {std::vector<float>(32000), golden_sound(894)}) {
    Samples source(samples);
    const Transcript got = transcribe_moonshine({worker, model, vocabulary}, source, greedy());
    EXPECT_EQ(got.text, "");
    EXPECT_TRUE(got.segments.empty());
  }
  TranscribeEvents events;
  events.cancelled = [] { return true; };
  Samples source(golden_sound(32000));
  EXPECT_THROW(transcribe_moonshine({worker, model, vocabulary}, source, greedy(), events), Error);
}

TEST_F(Moonshine, IsASpeechModelByItsConfiguration) {
  ModelRef ref;
  ref.name = "moonshine-tiny";
  ref.cached = false;
  ref.path = folder_;
  const ModelInfo info = probe_model(ref);
  EXPECT_EQ(info.kind, "audio");
  EXPECT_TRUE(info.audio.ok) << info.reason;
  EXPECT_EQ(info.load_kind(), ModelKind::speech);
}

TEST(MoonshineFiles, BadConfigurationsNameTheKey) {
  const auto refused = [](const char* key, const Json& value) {
    Json golden = golden_of("moonshine");
    golden["config"][key] = value;
    const fs::path folder = testing::write_recogniser(golden, "moonshine_bad");
    std::string message;
    try {
      const auto net = load_speech_net(folder);
      MoonshineVocabulary::load(folder, net->shape().vocab_size);
    } catch (const Error& error) {
      message = error.what();
    }
    fs::remove_all(folder);
    return message;
  };
  const std::pair<const char*, Json> cases[] = {{"hidden_size", 33},
                                                {"encoder_num_key_value_heads", 1},
                                                {"decoder_hidden_act", "wavy"},
                                                {"max_position_embeddings", 0},
                                                {"decoder_start_token_id", 500},
                                                {"eos_token_id", "end"}};
  for (const auto& [key, value] : cases) {
    const std::string what = std::string(key) == "decoder_hidden_act" ? "wavy" : key;
    EXPECT_NE(refused(key, value).find(what), std::string::npos) << key << ": " << refused(key, value);
  }
}

TEST(QuietestMoment, IsTheMiddleOfTheQuietestTenth) {
  std::vector<float> samples(48000, 0.5F);
  std::fill(samples.begin() + 5000, samples.begin() + 8000, 0.0F);  // before `from`
  std::fill(samples.begin() + 30000, samples.begin() + 31600, 0.1F);
  EXPECT_NEAR(static_cast<double>(quietest_moment(samples, 16000)), 30800, 2);
  EXPECT_EQ(quietest_moment(std::span(samples).first(16100), 16000), 16100U);  // less than a tenth
}

}  // namespace
}  // namespace mlxk
