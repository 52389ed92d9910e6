#include "probe/health.h"

#include <gtest/gtest.h>

#include "hub/testing/fake_cache.h"

namespace mlxk {
namespace {

using testing::FakeCache;
using testing::tiny_safetensors;
using testing::write;

class HealthOf : public FakeCache {
 protected:
  HealthOf() : folder_(hub_ / "models--o--m/snapshots" / testing::kHashA) {
    write(folder_ / "config.json", R"({"model_type":"llama"})");
  }
  std::string reason() const {
    const ModelInfo info = probe_model(resolve_model("o/m"));
    EXPECT_EQ(info.healthy,
              info.health_reason == "Model is healthy" || info.health_reason == "Multi-file model complete");
    return info.health_reason;
  }
  void put(const std::string& name, const std::string& content) const { write(folder_ / name, content); }
  void put_index(const std::string& map) const { put("model.safetensors.index.json", R"({"weight_map":)" + map + "}"); }

  fs::path folder_;
};

const std::string kTwoShards = R"({"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"})";
const std::string kPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n";

TEST_F(HealthOf, AWholeModel) {
  put("model.safetensors", tiny_safetensors());
  EXPECT_EQ(reason(), "Model is healthy");
}

TEST_F(HealthOf, Configurations) {
  put("model.safetensors", tiny_safetensors());
  put("config.json", "");
  EXPECT_EQ(reason(), "config.json is empty or invalid");
  put("config.json", "[]");
  EXPECT_EQ(reason(), "config.json is empty or invalid");
  put("config.json", "{}");
  EXPECT_EQ(reason(), "config.json is empty or invalid");
  put("config.json", "{\"a\":");
  EXPECT_EQ(reason(), "config.json contains invalid JSON");
  put("config.json", std::string(100'000, '['));
  EXPECT_TRUE(reason().ends_with("nested deeper than 64 levels")) << reason();
  fs::remove(folder_ / "config.json");
  EXPECT_EQ(reason(), "config.json missing");
}

TEST_F(HealthOf, AudioModelsWithoutATokenizer) {
  put("model.safetensors", tiny_safetensors());
  put("config.json", R"({"model_type":"voxtral","audio_config":{"a":1}})");
  EXPECT_EQ(reason(), "Tokenizer missing: tekken.json is published in mistralai/Voxtral-Mini-3B-2507");
  put("README.md", "---\nlibrary_name: mlx\nbase_model:\n- mistralai/Voxtral-Small-24B-2507\n---\n");
  EXPECT_EQ(reason(), "Tokenizer missing: tekken.json is published in mistralai/Voxtral-Small-24B-2507");
  put("README.md", "---\nbase_model: o/other\n---\n");
  EXPECT_EQ(reason(), "Tokenizer missing: tekken.json is published in o/other");
  put("tekken.json", "{}");
  EXPECT_EQ(reason(), "Model is healthy");
  fs::remove(folder_ / "tekken.json");
  put("tokenizer.json", "{}");
  EXPECT_EQ(reason(), "Model is healthy");
  fs::remove(folder_ / "tokenizer.json");
  fs::remove(folder_ / "README.md");
  put("config.json", R"({"model_type":"moonshine"})");
  EXPECT_EQ(reason(), "Tokenizer missing: tokenizer.json is published in UsefulSensors/moonshine-base");
}

TEST_F(HealthOf, RepositoriesWithoutASnapshot) {
  fs::remove_all(hub_ / "models--o--m/snapshots");
  EXPECT_EQ(reason(), "No snapshots found: a download was interrupted; `mlxk pull` continues it");
  fs::create_directories(hub_ / "models--o--m/snapshots");
  EXPECT_EQ(reason(), "No snapshots found: a download was interrupted; `mlxk pull` continues it");
  EXPECT_EQ(probe_model({"x", root_ / "gone", "", false}).health_reason, "Model path does not exist");
  fs::create_directories(root_ / "bare");
  EXPECT_EQ(probe_model({"x", root_ / "bare", "", false}).health_reason, "No config.json found in workspace");
}

TEST_F(HealthOf, IndexedShards) {
  put_index(kTwoShards);
  put("model-00001-of-00002.safetensors", tiny_safetensors("a"));
  EXPECT_EQ(reason(), "Missing weight shards: model-00002-of-00002.safetensors") << "a partial download is no mismatch";
  put("model-00002-of-00002.safetensors", "");
  EXPECT_EQ(reason(), "Empty weight shards: model-00002-of-00002.safetensors");
  put("model-00002-of-00002.safetensors", kPointer);
  EXPECT_EQ(reason(), "LFS pointers instead of files: model-00002-of-00002.safetensors");
  put("model-00002-of-00002.safetensors", tiny_safetensors("b"));
  EXPECT_EQ(reason(), "Multi-file model complete");
}

TEST_F(HealthOf, AnIndexOfOtherFiles) {
  put_index(kTwoShards);
  put("model.safetensors", tiny_safetensors());
  EXPECT_EQ(reason(),
            "Index/shard mismatch (mlx-vlm #624). Index references 2 shards but found 1 different files. "
            "Fix: mlxk convert <model> <output> --repair-index");
}

TEST_F(HealthOf, BrokenIndexes) {
  put("model.safetensors", tiny_safetensors());
  put_index("{}");
  EXPECT_EQ(reason(), "Empty or invalid weight_map in index");
  put("model.safetensors.index.json", "{");
  EXPECT_TRUE(reason().starts_with("Invalid index file")) << reason();
  write(root_ / "outside.safetensors", tiny_safetensors());
  put_index(R"({"a":"../../../../../outside.safetensors"})");
  EXPECT_TRUE(reason().starts_with("Invalid index file")) << reason();
  EXPECT_NE(reason().find("not a file name within the model's folder"), std::string::npos) << reason();
}

TEST_F(HealthOf, WeightsWithoutAnIndex) {
  EXPECT_EQ(reason(), "No model weights found");
  put("weights.npz", "x");
  EXPECT_EQ(reason(), "No model weights found");
  put("model-00001-of-00003.safetensors", tiny_safetensors());
  EXPECT_EQ(reason(), "Missing shards by pattern: 1/3 present");
  put("model-00001-of-00002.safetensors", tiny_safetensors());
  EXPECT_EQ(reason(), "Inconsistent shard totals detected");
  fs::remove(folder_ / "model-00001-of-00003.safetensors");
  put("model-00002-of-00002.safetensors", "");
  EXPECT_EQ(reason(), "Empty shards: model-00002-of-00002.safetensors");
  put("model-00002-of-00002.safetensors", tiny_safetensors());
  EXPECT_EQ(reason(), "Safetensors index missing for sharded model");
}

TEST_F(HealthOf, WhisperWeightsInNpz) {
  put("config.json", R"({"model_type":"whisper","n_mels":80})");
  EXPECT_EQ(reason(), "No model weights found");
  put("weights.npz", "");
  EXPECT_EQ(reason(), "Empty weight files: weights.npz");
  put("weights.npz", "PK");
  EXPECT_EQ(reason(), "Model is healthy");
}

TEST_F(HealthOf, SingleWeightFiles) {
  put("model.safetensors", "");
  EXPECT_EQ(reason(), "Empty weight files: model.safetensors");
  put("model.safetensors", kPointer);
  EXPECT_EQ(reason(), "LFS pointers instead of files: model.safetensors");
  put("model.safetensors", tiny_safetensors());
  put("x.partial", "");
  EXPECT_EQ(reason(), "Partial download marker detected");
}

TEST_F(HealthOf, SideFilesAreNeverWeightsOrConfiguration) {
  const std::string apple_double("\0\5\x16\7\0\2\0\0Mac OS X", 16);
  const auto litter = [&](const std::string& name) {
    put("._" + name, apple_double);
    put(name + "~", "{");
    put(name + ".tmp", "{");
  };
  put("model.safetensors", tiny_safetensors());
  for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"}) {
    put(std::string("._") + name, apple_double);
  }
  litter("config.json");
  litter("model.safetensors");
  put("._model-00001-of-00002.safetensors", apple_double);
  put(".DS_Store", apple_double);
  put("Thumbs.db", "x");
  put("desktop.ini", "[x]");
  put("__MACOSX/._model.safetensors", apple_double);
  EXPECT_EQ(reason(), "Model is healthy");
  fs::remove(folder_ / "model.safetensors");
  EXPECT_EQ(reason(), "No model weights found") << "nor do they stand in for weights";
  put("model.safetensors", tiny_safetensors());
  put("other.safetensors.tmp", "x");
  EXPECT_EQ(reason(), "Partial download marker detected") << "there is no other.safetensors";
}

TEST_F(HealthOf, OfTwoSetsOfWeightsTheOneThatIsLoadedCounts) {
  put("model.safetensors", tiny_safetensors());
  put("consolidated-00001-of-00003.safetensors", kPointer);
  put("pytorch_model-00001-of-00002.bin", "");
  put("pytorch_model.bin.index.json", R"({"weight_map":{"a":"pytorch_model-00002-of-00002.bin"}})");
  put("model.Q4_K_M.gguf", "");
  EXPECT_EQ(reason(), "Model is healthy");
  const ModelInfo info = probe_model({"x", folder_, "", false});
  EXPECT_EQ(info.weight_bytes, tiny_safetensors().size());
  put("model.safetensors", "");
  EXPECT_EQ(reason(), "Empty weight files: model.safetensors") << "what is not loaded does not replace it";
}

TEST_F(HealthOf, FoldersThatLieTooDeepAreNotLookedAt) {
  put("model.safetensors", tiny_safetensors());
  fs::path deep = folder_;
  for (int i = 0; i < 1200; ++i) deep /= "d";
  std::error_code error;
  fs::create_directories(deep, error);
  EXPECT_EQ(reason(), "Model is healthy");
}

TEST_F(HealthOf, TruncatedSafetensorsNameTheFile) {
  const std::string whole = tiny_safetensors();
  put("model.safetensors", whole.substr(0, whole.size() - 3));
  EXPECT_NE(reason().find("model.safetensors"), std::string::npos) << reason();
  EXPECT_NE(reason(), "Model is healthy");
}

TEST_F(HealthOf, Tokenizers) {
  put("model.safetensors", tiny_safetensors());
  put("tokenizer_config.json", "{");
  EXPECT_EQ(reason(), "tokenizer_config.json contains invalid JSON");
  put("tokenizer_config.json", "[]");
  EXPECT_EQ(reason(), "tokenizer_config.json exists but invalid");
  put("tokenizer_config.json", R"({"a":1})");
  EXPECT_EQ(reason(), "tokenizer_config.json present but tokenizer.json missing");
  put("tokenizer.model", "spm");
  EXPECT_EQ(reason(), "Model is healthy") << "SentencePiece alone is enough";
  put("tokenizer_config.json", "{}");
  EXPECT_EQ(reason(), "Model is healthy") << "an empty object is an object";
  for (const std::string broken : {"", "{", "[]", "null", R"({"a":1)", R"({"a":"x)", R"({"a":[1})", R"({"a":1}})",
                                   R"({"a":1} {)", "{\"a\":\"\n\"}", "\0{}"}) {
    put("tokenizer.json", broken);
    EXPECT_EQ(reason(), "tokenizer.json contains invalid JSON") << broken;
  }
  put("tokenizer.json", R"( {"a\"}":[{"b":"]"},1.5e3,null]} )");
  EXPECT_EQ(reason(), "Model is healthy");
  for (const char* name : {"special_tokens_map.json", "generation_config.json"}) {
    put(name, "{}");
    EXPECT_EQ(reason(), "Model is healthy") << "what every run reads";
    put(name, "{");
    EXPECT_EQ(reason(), std::string(name) + " contains invalid JSON");
    fs::remove(folder_ / name);
  }
}

TEST_F(HealthOf, ReasonsNameFilesByTheirPlaceInTheFolder) {
  put("model.safetensors", tiny_safetensors().substr(0, 40));
  EXPECT_EQ(reason().find(root_.string()), std::string::npos) << reason();
  EXPECT_TRUE(reason().starts_with("model.safetensors: ")) << reason();
  put("model.safetensors.index.json", "{");
  EXPECT_EQ(reason().find(root_.string()), std::string::npos) << reason();
  fs::remove(folder_ / "model.safetensors.index.json");
  put("config.json", std::string(100'000, '['));
  EXPECT_EQ(reason().find(root_.string()), std::string::npos) << reason();
}

TEST_F(HealthOf, VisionModelsNeedTheirProcessor) {
  put("model.safetensors", tiny_safetensors());
  put("config.json", R"({"model_type":"pixtral"})");
  EXPECT_EQ(reason(), "Vision model missing preprocessor_config.json or processor_config.json");
  put("preprocessor_config.json", "{");
  EXPECT_EQ(reason(), "preprocessor_config.json invalid JSON");
  put("preprocessor_config.json", "[1]");
  EXPECT_EQ(reason(), "preprocessor_config.json invalid");
  put("preprocessor_config.json", R"({"a":1})");
  EXPECT_EQ(reason(), "Model is healthy");
}

}  // namespace
}  // namespace mlxk
