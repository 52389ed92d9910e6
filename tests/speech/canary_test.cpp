// Tiny Canaries in each layout of their files against tools/make_canary_goldens.py: features, the encoder's frames, the
// decoder's logits, texts in the language that is spoken and in another one.
#include <gtest/gtest.h>

#include "speech/canary_vocabulary.h"
#include "tiny_recogniser.h"

namespace mlxk {
namespace {

using testing::expect_near;
using testing::floats_of;
using testing::frames_of;
using testing::golden_sound;
using testing::greedy;
using testing::logits_of;
using testing::tokens_of;

// On the CPU the decoder reads the encoder's output in float16, and the errors of all tokens add up.
constexpr float kLogitTolerance = 3e-2F;

TranscribeOptions options_of(const Json& text) {
  TranscribeOptions options = greedy();
  options.language = text["language"];
  options.to_language = text["to_language"];
  options.itn = text["itn"];
  return options;
}

class CanaryGolden : public testing::RecogniserTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override { open("canary", GetParam()); }
};

TEST_P(CanaryGolden, FeaturesFramesAndLogitsAreTheReferences) {
  const auto net = load_speech_net(tiny_->folder());
  const auto& decoder = dynamic_cast<const Seq2SeqNet&>(*net);
  const auto vocabulary = CanaryVocabulary::load(tiny_->folder(), net->shape().vocab_size);
  for (const Json& clip : golden_["clips"]) {
    SCOPED_TRACE(clip["samples"].dump());
    const auto features = vocabulary->features(golden_sound(clip["samples"]));
    expect_near(features, clip["features"]);
    const mx::array frames = frames_of(*net, features);
    expect_near(floats_of(frames), clip["frames"]);
    for (const Json& text : clip["texts"]) {
      const auto ids = text["ids"].get<std::vector<int32_t>>();
      expect_near(logits_of(decoder, frames, ids), text["logits"], kLogitTolerance);
      const auto prompt = vocabulary->prompt(options_of(text));
      EXPECT_EQ(prompt, std::vector<int32_t>(ids.begin(), ids.begin() + 9));
    }
  }
}

TEST_P(CanaryGolden, TextsAreTheReferences) {
  std::vector<std::vector<int32_t>> said;
  for (const Json& clip : golden_["clips"]) {
    for (const Json& text : clip["texts"]) {
      SCOPED_TRACE(text["to_language"].dump());
      const Transcript got = tiny_->run(golden_sound(clip["samples"]), options_of(text));
      auto wanted = text["tokens"].get<std::vector<int32_t>>();
      const double most = std::ceil(13 * got.duration);  // of a model that does not repeat itself
      wanted.resize(std::min(wanted.size(), static_cast<size_t>(most)));
      EXPECT_EQ(tokens_of(got), wanted);
      EXPECT_EQ(got.language, text["language"]);
      said.push_back(wanted);
    }
  }
  EXPECT_NE(std::pair(said[0], said[3]), std::pair(said[1], said[4]));  // the translation is another text
}

INSTANTIATE_TEST_SUITE_P(Models, CanaryGolden, ::testing::Values("nemo", "flat", "own", "transformers"));

class Canary : public testing::RecogniserTest {
 protected:
  void SetUp() override { open("canary", "nemo"); }
};

TEST_F(Canary, WritesEnglishUnlessToldOtherwise) {
  const auto vocabulary = CanaryVocabulary::load(tiny_->folder(), tiny_->model()->facts().vocab_size);
  EXPECT_EQ(vocabulary->languages(), (std::vector<std::string>{"en", "de"}));
  const auto languages = [&](const char* spoken, bool translate, const char* to) {
    TranscribeOptions options;
    options.language = spoken;
    options.translate = translate;
    options.to_language = to;
    const auto ids = vocabulary->prompt(options);
    return std::pair(ids.at(3), ids.at(4));
  };
  const auto english = languages("", false, "").first, german = languages("German", false, "").first;
  EXPECT_NE(english, german);
  EXPECT_EQ(languages("", false, ""), std::pair(english, english));
  EXPECT_EQ(languages("de", false, ""), std::pair(german, german));
  EXPECT_EQ(languages("de", true, ""), std::pair(german, english));
  EXPECT_EQ(languages("en", true, "de"), std::pair(english, german));
  EXPECT_THROW(languages("fr", false, ""), Error);  // it has a token, but no tokenizer
}

TEST_F(Canary, PackedWeightsGiveWhatTheirNumbersGive) {
  const Json golden = testing::recogniser_golden("canary", "flat");
  const Json& clip = golden["clips"][0];
  const auto ids = clip["texts"][0]["ids"].get<std::vector<int32_t>>();
  testing::expect_packed_is_plain(
      golden,
      [&](const auto& folder) {
        const auto net = load_speech_net(folder);
        const auto vocabulary = CanaryVocabulary::load(folder, net->shape().vocab_size);
        const mx::array frames = frames_of(*net, vocabulary->features(golden_sound(clip["samples"])));
        return logits_of(dynamic_cast<const Seq2SeqNet&>(*net), frames, ids);
      },
      0.5F);  // of logits between -60 and 60
}

TEST_F(Canary, ALongRecordingIsTranscribedInWindowsAndCanBeCancelled) {
  const Transcript whole = tiny_->run(golden_sound(16000 * 70 + 77), greedy());
  EXPECT_NEAR(whole.duration, 70, 0.01);
  ASSERT_GE(whole.segments.size(), 3U);
  for (size_t i = 1; i < whole.segments.size(); ++i) {
    EXPECT_GE(whole.segments[i].start, whole.segments[i - 1].end);
    EXPECT_LE(whole.segments[i].end - whole.segments[i].start, 30);
  }
  EXPECT_TRUE(tiny_->run(std::vector<float>(32000), greedy()).segments.empty());
  EXPECT_TRUE(tiny_->run(golden_sound(100), greedy()).segments.empty());  // shorter than a frame
  TranscribeEvents events;
  int asked = 0;
  events.cancelled = [&] { return ++asked > 1; };  // not before the first window, but while it runs or after it
  EXPECT_THROW(tiny_->run(golden_sound(16000 * 70), greedy(), events), Error);
}

TEST_F(Canary, IsASpeechModelByItsConfiguration) {
  for (const char* name : {"nemo", "flat", "own", "transformers"}) {
    open("canary", name);
    const ModelInfo info = tiny_->probe();
    EXPECT_EQ(info.model_type, "canary") << name;
    EXPECT_EQ(info.kind, "audio");
    EXPECT_TRUE(info.healthy) << name << info.health_reason;
    EXPECT_TRUE(info.audio.ok) << info.reason;
    EXPECT_EQ(info.load_kind(), ModelKind::speech);
    EXPECT_TRUE(info.translates_to_english);
  }
}

TEST_F(Canary, MissingTokenizersAreNamed) {
  std::filesystem::remove(tiny_->folder() / "de.model");
  EXPECT_EQ(tiny_->probe().health_reason, "Tokenizer missing: de.model is published in nvidia/canary-1b-v2");
  open("canary", "own");
  std::filesystem::remove(tiny_->folder() / "tokens.txt");
  EXPECT_EQ(tiny_->probe().health_reason, "Tokenizer missing: tokenizer.json is published in nvidia/canary-1b-v2");
}

TEST(CanaryFiles, BadConfigurationsNameTheKey) {
  const auto expect = [](const char* name, const char* pointer, const Json& value, const char* words) {
    Json golden = testing::recogniser_golden("canary", name);
    golden[Json::json_pointer(pointer)] = value;
    const std::string message = testing::refusal_of<CanaryVocabulary>(golden);
    EXPECT_NE(message.find(words), std::string::npos) << pointer << ": " << message;
  };
  expect("nemo", "/config/transf_decoder/config_dict/hidden_size", 30, "hidden_size");
  expect("nemo", "/config/transf_decoder/config_dict/num_attention_heads", "four", "num_attention_heads");
  expect("nemo", "/config/transf_decoder/config_dict/hidden_act", "gelu", "hidden_act 'gelu'");
  expect("nemo", "/config/transf_decoder/config_dict/pre_ln", false, "pre_ln false");
  expect("nemo", "/config/transf_decoder/config_dict/learn_positional_encodings", true, "learn_positional_encodings");
  expect("nemo", "/config/transf_encoder", Json{{"num_layers", 2}}, "num_layers");
  expect("nemo", "/config/head/num_classes", 0, "num_classes");
  expect("nemo", "/config/encoder/d_model", 30, "d_model");
  expect("nemo", "/config/preprocessor/sample_rate", 8000, "sample_rate");
  expect("nemo", "/config/tokenizer/langs/de/model_path", "../de.model", "tokenizer.langs.de.model_path");
  expect("nemo", "/files/de.model", "no model", "de.model");
  expect("own", "/config/enc_output_dim", 64, "enc_output_dim");
  expect("own", "/files/tokens.txt", "<|en|> 15\nnothing\n", "[tokens.txt] line 2");
  expect("own", "/files/tokens.txt", "<|en|> 15\n", "[tokens.txt] the token <|startofcontext|>");
  expect("own", "/config/supported_languages", Json::array({"xx"}), "languages");
  expect("flat", "/config/tokenizer/model_base64", "???", "tokenizer.model_base64");
  expect("transformers", "/config/decoder_config/head_dim", 4, "head_dim");
  expect("transformers", "/config/decoder_config/num_key_value_heads", 2, "num_key_value_heads");
  expect("transformers", "/config/decoder_config/hidden_act", "gelu", "hidden_act 'gelu'");
}

}  // namespace
}  // namespace mlxk
