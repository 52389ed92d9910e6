#include <gtest/gtest.h>

#include "hub/testing/fake_cache.h"
#include "probe/front_matter.h"
#include "probe/model_info.h"

namespace mlxk {
namespace {

using testing::FakeCache;
using testing::write;

using Files = std::vector<std::pair<std::string, std::string>>;  // name, content
using Names = std::vector<std::string>;

class Probe : public FakeCache {
 protected:
  /// Probes a cached model of that name made of a config, one weight file and `files`.
  ModelInfo probe(const std::string& name, const std::string& config, const Files& files = {}) {
    const fs::path snapshot = add_model(name, testing::kHashA, config);
    for (const auto& [file, content] : files) write(snapshot / file, content);
    return probe_model(resolve_model(name));
  }
};

struct CapabilityRow {
  std::string name, config;
  Files files;
  std::string kind;
  Names capabilities;
};

TEST_F(Probe, TellsKindAndCapabilities) {
  const Files kSentences = {{"modules.json", "[]"}, {"1_Pooling/config.json", "{}"}};
  const Files pre = {{"preprocessor_config.json", R"({"image_processor_type":"X"})"}};
  const std::vector<CapabilityRow> rows = {
      {"o/base", R"({"model_type":"llama"})", {}, "base", {"text-generation"}},
      {"o/m-Instruct", R"({"model_type":"llama"})", {}, "chat", {"text-generation", "chat"}},
      {"o/m-chat", R"({"model_type":"llama"})", {}, "chat", {"text-generation", "chat"}},
      {"o/typed", R"({"model_type":"chat"})", {}, "chat", {"text-generation", "chat"}},
      {"o/t1",
       R"({"model_type":"llama"})",
       {{"tokenizer_config.json", R"({"chat_template": "{{x}}"})"}},
       "chat",
       {"text-generation", "chat"}},
      {"o/t2",
       R"({"model_type":"llama"})",
       {{"tokenizer_config.json", R"({"chat_template": ""})"}},
       "base",
       {"text-generation"}},
      {"o/t3",
       R"({"model_type":"llama"})",
       {{"tokenizer_config.json", R"({"x":"chat_template", "chat_template": null})"}},
       "base",
       {"text-generation"}},
      {"o/t4",
       R"({"model_type":"llama"})",
       {{"tokenizer_config.json", R"({"chat_template":[{"name":"default","template":"x"}]})"}},
       "chat",
       {"text-generation", "chat"}},
      {"o/t5", R"({"model_type":"llama"})", {{"chat_template.jinja", "x"}}, "chat", {"text-generation", "chat"}},
      {"o/t6", R"({"model_type":"llama"})", {{"chat_template.json", "{}"}}, "chat", {"text-generation", "chat"}},
      {"o/t7",
       R"({"model_type":"llama"})",
       {{"tokenizer.json", R"({"chat_template": "x"})"}},
       "chat",
       {"text-generation", "chat"}},
      {"o/pix", R"({"model_type":"pixtral"})", pre, "chat", {"text-generation", "chat", "vision"}},
      {"o/smol", R"({"model_type":"SmolVLM"})", pre, "chat", {"text-generation", "chat", "vision"}},
      {"o/vc", R"({"model_type":"gemma3","vision_config":{"a":1}})", pre, "base", {"text-generation", "vision"}},
      {"o/vc0", R"({"model_type":"gemma3","vision_config":{}})", {}, "base", {"text-generation"}},
      {"o/files",
       R"({"model_type":"x"})",
       {{"sub/processor_config.json", "{}"}},
       "base",
       {"text-generation", "vision"}},
      {"o/ip", R"({"model_type":"x","image_processor":"Y"})", {}, "base", {"text-generation", "vision"}},
      {"o/video1",
       R"({"model_type":"x"})",
       {{"preprocessor_config.json", R"({"processor_class":"AutoVideoProcessor"})"}},
       "base",
       {"text-generation"}},
      {"o/video2",
       R"({"model_type":"x"})",
       {{"preprocessor_config.json", R"({"temporal_patch_size":2})"}},
       "base",
       {"text-generation"}},
      {"o/video3",
       R"({"model_type":"x"})",
       {{"preprocessor_config.json", "{}"}, {"video_preprocessor_config.json", "{}"}},
       "base",
       {"text-generation"}},
      {"o/gemma3n",
       R"({"model_type":"gemma3n","vision_config":{"a":1},"audio_config":{"a":1}})",
       {},
       "base",
       {"text-generation", "vision", "audio"}},
      {"o/whisper-large-v3",
       R"({"model_type":"whisper"})",
       {{"preprocessor_config.json", R"({"feature_extractor_type":"WhisperFeatureExtractor"})"}},
       "audio",
       {"audio", "audio-translate-en"}},
      {"o/whisper-large-v3-turbo", R"({"model_type":"whisper"})", {}, "audio", {"audio"}},
      {"o/whisper-tiny.en-mlx", R"({"model_type":"whisper"})", {}, "audio", {"audio"}},
      {"o/vox", R"({"model_type":"voxtral","audio_config":{"a":1}})", {}, "chat", {"text-generation", "chat", "audio"}},
      {"o/vox-live", R"({"model_type":"voxtral_realtime","audio_config":{"a":1}})", {}, "audio", {"audio"}},
      {"o/vibe", R"({"model_type":"vibevoice_asr"})", {}, "chat", {"text-generation", "chat", "audio"}},
      {"o/Qwen3-Embedding-0.6B", R"({"model_type":"qwen3"})", {}, "embedding", {"embeddings"}},
      {"o/x-embed", R"({"model_type":"x","architectures":["XForCausalLM"]})", {}, "embedding", {"embeddings"}},
      {"o/embed-only-a-name", R"({"model_type":"x"})", {}, "base", {"text-generation"}},
      {"o/bge-small", R"({"model_type":"bert"})", {}, "embedding", {"embeddings"}},
      {"o/modern", R"({"model_type":"modernbert"})", {}, "embedding", {"embeddings"}},
      {"o/e5", R"({"model_type":"xlm-roberta"})", {}, "embedding", {"embeddings"}},
      {"o/gemma", R"({"model_type":"gemma3_text"})", kSentences, "embedding", {"embeddings"}},
      {"o/masked",
       R"({"model_type":"bert","architectures":["BertForMaskedLM"]})",
       {},
       "embedding",
       {"embeddings", "fill-mask"}},
      {"o/ms-marco",
       R"({"model_type":"bert","architectures":["BertForSequenceClassification"],"id2label":{"0":"LABEL_0"}})",
       {},
       "embedding",
       {"rerank"}},
      {"o/sst2",
       R"({"model_type":"distilbert","architectures":["DistilBertForSequenceClassification"],
           "id2label":{"0":"NEGATIVE","1":"POSITIVE"}})",
       {},
       "embedding",
       {"classify"}},
      {"o/Qwen3-Reranker-0.6B",
       R"({"model_type":"qwen3","architectures":["Qwen3ForCausalLM"]})",
       {},
       "embedding",
       {"rerank"}},
  };
  for (const auto& row : rows) {
    const ModelInfo info = probe(row.name, row.config, row.files);
    EXPECT_EQ(info.kind, row.kind) << row.name;
    EXPECT_EQ(info.capabilities, row.capabilities) << row.name;
    EXPECT_EQ(info.is_chat, row.kind == "chat") << row.name;
  }
}

TEST_F(Probe, ChoosesTheAudioBackend) {
  const std::vector<std::tuple<std::string, std::string, AudioBackend>> rows = {
      {"o/vox", R"({"model_type":"voxtral","audio_config":{"a":1}})", AudioBackend::multimodal},
      {"o/vox-live", R"({"model_type":"voxtral_realtime","audio_config":{"a":1},"vision_config":{"a":1}})",
       AudioBackend::stt},
      {"o/gemma3n", R"({"model_type":"gemma3n","audio_config":{"a":1},"vision_config":{"a":1}})",
       AudioBackend::multimodal},
      {"o/w", R"({"model_type":"whisper"})", AudioBackend::stt},
      {"o/my-Whisper", R"({"model_type":"audio_thing"})", AudioBackend::stt},
      {"o/a", R"({"model_type":"x","audio_config":{"a":1}})", AudioBackend::multimodal},
      {"o/b", R"({"model_type":"audio_thing"})", AudioBackend::unknown},
      {"o/c", R"({"model_type":"llama"})", AudioBackend::none},
  };
  for (const auto& [name, config, backend] : rows) EXPECT_EQ(probe(name, config).audio_backend, backend) << name;
}

TEST_F(Probe, TellsTheFramework) {
  EXPECT_EQ(probe("mlx-community/a", R"({"model_type":"x"})").framework, "MLX");
  EXPECT_EQ(probe("o/q", R"({"quantization":{"bits":4}})").framework, "MLX");
  EXPECT_EQ(probe("o/p", R"({"model_type":"x"})").framework, "PyTorch");
  EXPECT_EQ(probe("o/r", R"({"model_type":"x"})", {{"README.md", "---\ntags:\n- text\n- mlx\n---\n# m"}}).framework,
            "MLX");
  const std::string header = R"({"__metadata__":{"format":"mlx"}})";
  const std::string marked = std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header;
  EXPECT_EQ(probe("o/w", R"({"model_type":"x"})", {{"model.safetensors", marked}}).framework, "MLX");
  write(hub_ / "models--o--g/snapshots" / testing::kHashA / "m.gguf", "GGUF");
  EXPECT_EQ(probe_model(resolve_model("o/g")).framework, "GGUF");
  write(hub_ / "models--o--u/snapshots" / testing::kHashA / "README.md", "x");
  EXPECT_EQ(probe_model(resolve_model("o/u")).framework, "Unknown");
}

TEST(FrontMatter, TakesTagsInlineAndAsABlockAndTheLibrary) {
  EXPECT_TRUE(front_matter_says_mlx("---\ntags: [a, \"mlx\"]\n---\n"));
  EXPECT_TRUE(front_matter_says_mlx("---\r\nlanguage: en\r\ntags:\r\n  - 'mlx'\r\n---\r\n"));
  EXPECT_TRUE(front_matter_says_mlx("---\nlibrary_name: MLX\n---"));
  EXPECT_FALSE(front_matter_says_mlx("---\ntags:\n- mlx-lm\nother:\n- mlx\n---\n"));
  EXPECT_FALSE(front_matter_says_mlx("---\ntags: [a]\n---\nlibrary_name: mlx\n"));
  EXPECT_FALSE(front_matter_says_mlx("library_name: mlx\n"));
  EXPECT_FALSE(front_matter_says_mlx(""));
  const std::string_view readme = "---\nlanguage:\n- en\n- 'de'\n-\ntags: [ a, b ]\nlicense: mit\n---\nlanguage: fr\n";
  EXPECT_EQ(front_matter_values(readme, "language"), (Names{"en", "de"}));
  EXPECT_EQ(front_matter_values(readme, "tags"), (Names{"a", "b"}));
  EXPECT_EQ(front_matter_values(readme, "license"), Names{"mit"});
  EXPECT_TRUE(front_matter_values(readme, "base_model").empty());
}

TEST_F(Probe, FindsTheContextLengthAlsoInTheTextPart) {
  EXPECT_EQ(probe("o/a", R"({"max_position_embeddings":8192})").context_length, 8192);
  EXPECT_EQ(
      probe("o/b", R"({"vision_config":{"max_position_embeddings":7},"text_config":{"max_position_embeddings":32768}})")
          .context_length,
      32768);
  EXPECT_EQ(probe("o/c", R"({"model_type":"x"})").context_length, 0);
}

TEST_F(Probe, CountsWeightsOf8BitFloatsAsTheyAreLoaded) {
  const ModelInfo info = probe("o/a", R"({"model_type":"qwen3","quantization_config":{"quant_method":"fp8"}})");
  EXPECT_EQ(info.weight_bytes, 2 * testing::tiny_safetensors().size());
}

TEST_F(Probe, CountsBytesOfWeightsAndOfAllFiles) {
  const ModelInfo info = probe("o/a", R"({"model_type":"llama"})", {{"sub/note.txt", "12345"}});
  const uint64_t weights = testing::tiny_safetensors().size();
  EXPECT_EQ(info.weight_bytes, weights);
  EXPECT_EQ(info.size_bytes, weights + std::string(R"({"model_type":"llama"})").size() + 5);
}

TEST_F(Probe, KeepsTheQuantizationAsText) {
  EXPECT_EQ(probe("o/a", R"({"quantization": {"bits": 4}})").quantization, R"({"bits":4})");
  EXPECT_EQ(probe("o/b", R"({"model_type":"x"})").quantization, "");
}

TEST_F(Probe, RunsWhatIsBuiltIn) {
  const ModelInfo mlx = probe("o/a", R"({"model_type":"llama","quantization":{"bits":4,"group_size":64}})");
  EXPECT_TRUE(mlx.text.ok);
  EXPECT_EQ(mlx.reason, "");
  EXPECT_TRUE(probe("o/plain-hf", R"({"model_type":"qwen3"})").text.ok);
  EXPECT_TRUE(probe("o/speech", R"({"model_type":"whisper"})").audio.ok);
}

TEST_F(Probe, SaysWhyAModelCannotRun) {
  const ModelInfo unknown = probe("o/a", R"({"model_type":"falcon_h9"})");
  EXPECT_TRUE(unknown.healthy);
  EXPECT_FALSE(unknown.text.ok);
  EXPECT_TRUE(unknown.reason.starts_with("text model type 'falcon_h9' is not built in")) << unknown.reason;
  EXPECT_EQ(probe("o/b", R"({"hidden_size":64})").reason, "config.json missing model_type field");
  EXPECT_EQ(probe("o/c", R"({"model_type":"vibevoice_live","audio_config":{"a":1}})").reason,
            "speech model type 'vibevoice_live' is not built in; `mlxk list --architectures` lists what is");
  EXPECT_TRUE(
      probe("o/d", R"({"model_type":"deberta"})").reason.starts_with("embedding model type 'deberta' is not built in"));
  const Files layers = {{"1_Pooling/config.json", R"({"pooling_mode":"mean"})"},
                        {"modules.json", R"([{"path":"","type":"sentence_transformers.models.Transformer"},
                                             {"path":"1_LSTM","type":"sentence_transformers.models.LSTM"}])"}};
  EXPECT_TRUE(probe("o/e", R"({"model_type":"bert"})", layers)
                  .reason.ends_with("modules.json: module \"LSTM\" at position 1 is not built in"));

  const fs::path gguf = hub_ / "models--o--g/snapshots" / testing::kHashA;
  write(gguf / "config.json", R"({"model_type":"llama"})");
  write(gguf / "m.gguf", "GGUF");
  EXPECT_EQ(probe_model(resolve_model("o/g")).reason, "Incompatible framework: GGUF");
  const fs::path legacy = add_model("mlx-community/old");
  fs::rename(legacy / "model.safetensors", legacy / "weights.00.safetensors");
  EXPECT_TRUE(probe_model(resolve_model("mlx-community/old")).reason.starts_with("Legacy format not supported"));
}

TEST_F(Probe, RunsTheTextPartOfAVisionModel) {
  const ModelInfo info = probe("o/a", R"({"model_type":"llava_onevision","vision_config":{"a":1}})",
                               {{"preprocessor_config.json", R"({"size":1})"}});
  EXPECT_TRUE(info.text.ok);
  EXPECT_FALSE(info.vision.ok);
  EXPECT_EQ(info.vision.reason,
            "vision model type 'llava_onevision' is not built in (nearest: llava_next, aya_vision); `mlxk list "
            "--architectures` lists what is");
  EXPECT_EQ(info.reason, "");
}

TEST_F(Probe, NamesAnAbsurdConfigurationKey) {
  const ModelInfo info = probe("o/a", R"({"model_type":"llama","hidden_size":-5})");
  EXPECT_FALSE(info.healthy);
  EXPECT_NE(info.reason.find("hidden_size"), std::string::npos) << info.reason;
}

TEST_F(Probe, FindsAModelWithCodeOfItsOwnWholeButNotRunnable) {
  const ModelInfo info = probe("o/a", R"({"model_type":"llama","model_file":"x.py"})");
  EXPECT_TRUE(info.healthy);
  EXPECT_FALSE(info.text.ok);
  EXPECT_NE(info.reason.find("model_file"), std::string::npos) << info.reason;
}

TEST_F(Probe, SurvivesConfigurationsOfTheWrongShape) {
  for (const char* config : {R"({"model_type":5,"architectures":"x","text_config":[],"vision_config":7})",
                             R"({"model_type":{"a":1},"quantization":null,"max_position_embeddings":"x"})",
                             R"({"architectures":[1,null]})"}) {
    EXPECT_NO_THROW(probe("o/a", config)) << config;
  }
}

TEST_F(Probe, ReadsATrainedModel) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  if (!models) GTEST_SKIP() << "MLXK_TEST_MODELS names no folder of trained models";
  const fs::path folder = fs::path(models) / "SmolLM2-135M-Instruct-4bit";
  const ModelInfo info = probe_model(resolve_model(folder.string()));
  EXPECT_TRUE(info.healthy) << info.health_reason;
  EXPECT_TRUE(info.text.ok) << info.text.reason;
  EXPECT_EQ(info.kind, "chat");
  EXPECT_EQ(info.framework, "MLX");
  EXPECT_EQ(info.context_length, 8192);
}

}  // namespace
}  // namespace mlxk
