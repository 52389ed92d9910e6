#include "probe/model_entry.h"

#include <gtest/gtest.h>

#include "hub/testing/fake_cache.h"
#include "hub/workspace.h"

namespace mlxk {
namespace {

using testing::write;

class ModelEntries : public testing::FakeCache {};

TEST_F(ModelEntries, ACachedModelHasEveryKeyOfTheApi) {
  add_model("mlx-community/m-chat");
  const Json object = model_object(describe_model(resolve_model("m-chat")));
  EXPECT_EQ(object["name"], "mlx-community/m-chat");
  EXPECT_EQ(object["hash"], testing::kHashA);
  EXPECT_EQ(object["framework"], "MLX");
  EXPECT_EQ(object["model_type"], "chat");
  EXPECT_EQ(object["capabilities"], Json({"text-generation", "chat"}));
  EXPECT_EQ(object["health"], "healthy");
  EXPECT_EQ(object["runtime_compatible"], true);
  EXPECT_EQ(object["cached"], true);
  for (const char* key : {"reason", "origin", "content_hash", "hash_modified", "clean"}) {
    EXPECT_TRUE(object.contains(key) && object[key].is_null()) << key;
  }
  EXPECT_EQ(object["last_modified"].get<std::string>().size(), 20U);
  EXPECT_FALSE(object.contains("display_name"));
}

TEST_F(ModelEntries, AManagedWorkspaceTellsOriginAndCleanliness) {
  const fs::path folder = add_workspace("w");
  write_sentinel(folder, {{"managed", true}, {"source_repo", "org/w"}});
  recalculate_content_hash(folder);
  const Json object = model_object(describe_model(list_models("w").at(0)));
  EXPECT_EQ(object["name"], folder.string());
  EXPECT_EQ(object["display_name"], "w");
  EXPECT_EQ(object["hash"], nullptr);
  EXPECT_EQ(object["cached"], false);
  EXPECT_EQ(object["origin"], "org/w");
  EXPECT_EQ(object["clean"], true);
  EXPECT_EQ(object["content_hash"].get<std::string>().size(), 7U + 64U);
  write(folder / "new", "x");
  EXPECT_EQ(model_object(describe_model(resolve_model("w")))["clean"], false);
}

TEST_F(ModelEntries, AnUnhealthyModelGivesItsReason) {
  fs::create_directories(hub_ / "models--o--m");
  const Json object = model_object(describe_model(resolve_model("o/m")));
  EXPECT_EQ(object["hash"], nullptr);
  EXPECT_EQ(object["health"], "unhealthy");
  EXPECT_EQ(object["runtime_compatible"], false);
  EXPECT_EQ(object["reason"], "No snapshots found: a download was interrupted; `mlxk pull` continues it");
}

TEST_F(ModelEntries, MetadataComesFromTheTextPartToo) {
  add_model("o/m", testing::kHashA,
            R"({"model_type":"gemma3","architectures":["G"],"quantization_config":{"bits":4},)"
            R"("text_config":{"hidden_size":8,"max_position_embeddings":64}})");
  const ModelRef ref = resolve_model("o/m");
  const Json metadata = config_metadata(probe_model(ref), read_config_of(ref));
  EXPECT_EQ(metadata["architecture"], "G");
  EXPECT_EQ(metadata["quantization"], "4bit");
  EXPECT_EQ(metadata["context_length"], 64);
  EXPECT_EQ(metadata["hidden_size"], 8);
  EXPECT_EQ(metadata["vocab_size"], nullptr);
}

TEST_F(ModelEntries, FilesHaveTypes) {
  const fs::path folder = add_model("o/m");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "README.md", "generation_config.json", "x.png"}) {
    write(folder / name, "x");
  }
  std::string types;
  for (const Json& file : file_list(resolve_model("o/m"))) {
    types += file["name"].get<std::string>() + ":" + file["type"].get<std::string>() + " ";
  }
  EXPECT_EQ(types,
            "README.md:readme config.json:config generation_config.json:config model.safetensors:weights "
            "tokenizer.json:tokenizer tokenizer_config.json:tokenizer x.png:other ");
}

TEST_F(ModelEntries, HealthIsCounted) {
  add_model("o/a");
  fs::create_directories(hub_ / "models--o--b");
  std::vector<ModelInfo> models;
  for (const auto& ref : list_models()) models.push_back(probe_model(ref));
  const Json data = health_data(models);
  EXPECT_EQ(data["summary"].dump(), R"({"total":2,"healthy_count":1,"unhealthy_count":1})");
  EXPECT_EQ(data["healthy"][0].dump(), R"({"name":"o/a","status":"healthy","reason":"Model is healthy"})");
}

TEST(HumanSize, IsDecimal) {
  EXPECT_EQ(human_size(0), "0B");
  EXPECT_EQ(human_size(999), "999B");
  EXPECT_EQ(human_size(1000), "1.0KB");
  EXPECT_EQ(human_size(4'600'000'000), "4.6GB");
}

TEST_F(ModelEntries, TellOfEachModalityWhetherItRunsAndWhyNot) {
  add_model("o/m");
  const Json runtime = runtime_data(describe_model(resolve_model("o/m")).info);
  EXPECT_EQ(runtime["text"], (Json{{"runs", true}, {"reason", nullptr}}));
  EXPECT_EQ(runtime["vision"], (Json{{"runs", false}, {"reason", "no vision capability detected"}}));
  testing::write(resolve_model("o/m").path / "config.json", "{");
  const ModelInfo broken = describe_model(resolve_model("o/m")).info;
  EXPECT_EQ(runtime_data(broken)["text"], (Json{{"runs", false}, {"reason", broken.health_reason}}));
}

}  // namespace
}  // namespace mlxk
