#include "probe/embedding_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "hub/testing/fake_cache.h"

namespace mlxk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Files = std::vector<std::pair<std::string, std::string>>;

class EmbeddingConfigTest : public testing::FakeCache {
 protected:
  EmbeddingConfig read(const std::string& name, const std::string& config, const Files& files = {}) {
    const fs::path folder = workspaces_ / name;
    fs::remove_all(folder);
    testing::write(folder / "config.json", config);
    for (const auto& [file, content] : files) testing::write(folder / file, content);
    return read_embedding_config(folder);
  }
  std::string refusal(const Files& files) {
    try {
      read("m", R"({"model_type":"bert"})", files);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  }
  static Files modules(const std::string& list, const Files& more = {}) {
    Files files = {{"modules.json", "[" + list + "]"}};
    files.insert(files.end(), more.begin(), more.end());
    return files;
  }
};

constexpr const char* kTransformer = R"({"path":"","type":"sentence_transformers.models.Transformer"})";
constexpr const char* kPooling = R"(,{"path":"1_Pooling","type":"sentence_transformers.models.Pooling"})";

TEST_F(EmbeddingConfigTest, ReadsTheModulesInTheirOrder) {
  const auto config = read(
      "gemma", R"({"model_type":"gemma3_text","max_position_embeddings":2048})",
      modules(std::string(kTransformer) + kPooling + R"(,{"path":"2_Dense","type":"sentence_transformers.models.Dense"},
                {"path":"3_Dense","type":"sentence_transformers.sentence_transformer.modules.dense.Dense"},
                {"path":"4_Normalize","type":"sentence_transformers.models.Normalize"})",
              {{"1_Pooling/config.json", R"({"pooling_mode_mean_tokens":true,"include_prompt":false})"},
               {"2_Dense/config.json", R"({"activation_function":"torch.nn.modules.linear.Identity"})"},
               {"3_Dense/config.json", R"({"activation_function":"torch.nn.modules.activation.Tanh"})"},
               {"sentence_bert_config.json", R"({"max_seq_length":512,"do_lower_case":true})"}}));
  EXPECT_THAT(config.pipeline.poolings, ElementsAre(Pooling::mean));
  EXPECT_FALSE(config.pipeline.include_prompt);
  ASSERT_EQ(config.pipeline.dense.size(), 2);
  EXPECT_EQ(config.pipeline.dense[0].activation, "Identity");
  EXPECT_EQ(config.pipeline.dense[1].folder, "3_Dense");
  EXPECT_EQ(config.pipeline.dense[1].activation, "Tanh");
  EXPECT_TRUE(config.pipeline.normalize);
  EXPECT_EQ(config.max_tokens, 512);
  EXPECT_TRUE(config.lower_case);
}

TEST_F(EmbeddingConfigTest, ReadsSparsePooling) {
  const std::string splade =
      std::string(R"({"path":"","type":"sentence_transformers.sparse_encoder.models.MLMTransformer"})") +
      R"(,{"path":"1_SpladePooling","type":"sentence_transformers.sparse_encoder.models.SpladePooling"})";
  const auto with = [&](const char* pooling) { return modules(splade, {{"1_SpladePooling/config.json", pooling}}); };
  const auto config =
      read("m", R"({"model_type":"bert"})", with(R"({"pooling_strategy":"sum","activation_function":"log1p_relu"})"));
  EXPECT_TRUE(config.pipeline.poolings.empty());
  ASSERT_TRUE(config.pipeline.splade);
  EXPECT_TRUE(config.pipeline.splade->sum && config.pipeline.splade->twice);
  EXPECT_THAT(refusal(with(R"({"pooling_strategy":"mean","activation_function":"relu"})")),
              HasSubstr("pooling_strategy must be max or sum, got \"mean\""));
}

TEST_F(EmbeddingConfigTest, ReadsLateInteraction) {
  const Files dense =
      modules(std::string(kTransformer) + R"(,{"path":"1_Dense","type":"pylate.models.Dense.Dense"})",
              {{"1_Dense/config.json", R"({"activation_function":"torch.nn.modules.linear.Identity"})"}});
  Files pylate = dense;
  pylate.push_back({"config_sentence_transformers.json",
                    R"({"model_type":"ColBERT","query_prefix":"[Q] ","document_prefix":"[D] ","query_length":48,
                        "document_length":300,"attend_to_expansion_tokens":true})"});
  const auto config = read("m", R"({"model_type":"bert"})", pylate);
  EXPECT_TRUE(config.pipeline.token_vectors);
  ASSERT_TRUE(config.late_interaction);
  EXPECT_EQ(config.late_interaction->expansion, 48);
  EXPECT_TRUE(config.late_interaction->attends_to_expansion);
  EXPECT_EQ(config.late_interaction->document_tokens, 300);
  EXPECT_EQ(config.late_interaction->skipped.size(), 32);  // string.punctuation
  EXPECT_EQ(config.find_prompt("query")->text, "[Q] ");
  EXPECT_EQ(config.default_prompt, "document");
  EXPECT_EQ(read("m", R"({"model_type":"bert"})", dense).late_interaction->expansion, 0);

  // ColBERT's own code has no modules.json.
  const auto stanford = read("c", R"({"model_type":"bert","architectures":["HF_ColBERT"]})",
                             {{"artifact.metadata", R"({"doc_maxlen":180,"mask_punctuation":false})"}});
  EXPECT_TRUE(stanford.pipeline.token_vectors);
  EXPECT_EQ(stanford.late_interaction->expansion, 32);
  EXPECT_EQ(stanford.late_interaction->document_tokens, 180);
  EXPECT_TRUE(stanford.late_interaction->skipped.empty());
  EXPECT_EQ(stanford.find_prompt("query")->text, "[unused0]");

  EXPECT_THAT(refusal(modules(std::string(kTransformer) + R"(,{"path":"1_Dense","type":"pylate.models.Dense.Dense"})",
                              {{"1_Dense/config.json", R"({"use_residual":true})"}})),
              HasSubstr("use_residual is not built in"));
  EXPECT_THAT(refusal(modules(kTransformer)), HasSubstr("neither a pooling"));
}

TEST_F(EmbeddingConfigTest, ConcatenatesPoolingsInTheirFixedOrder) {
  const auto poolings = [&](const std::string& pooling) {
    return read("m", R"({"model_type":"bert"})",
                modules(std::string(kTransformer) + kPooling, {{"1_Pooling/config.json", pooling}}))
        .pipeline.poolings;
  };
  EXPECT_THAT(
      poolings(R"({"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true,"pooling_mode_max_tokens":false})"),
      ElementsAre(Pooling::cls, Pooling::mean));
  EXPECT_THAT(poolings(R"({"pooling_mode":"lasttoken"})"), ElementsAre(Pooling::lasttoken));
  EXPECT_THAT(poolings(R"({"pooling_mode":["weightedmean","max"]})"), ElementsAre(Pooling::max, Pooling::weightedmean));
}

TEST_F(EmbeddingConfigTest, WithoutModulesFollowsTheFamily) {
  EXPECT_THAT(read("MiniLM", R"({"model_type":"bert"})").pipeline.poolings, ElementsAre(Pooling::mean));
  EXPECT_THAT(read("bge-small-en-v1.5", R"({"model_type":"bert"})").pipeline.poolings, ElementsAre(Pooling::cls));
  EXPECT_THAT(read("Qwen3-Embedding", R"({"model_type":"qwen3"})").pipeline.poolings, ElementsAre(Pooling::lasttoken));
  EXPECT_TRUE(read("MiniLM", R"({"model_type":"bert"})").pipeline.normalize);
  // For a cached model the repository's name counts, not the revision.
  const fs::path cached = add_model("BAAI/bge-base-en", testing::kHashA, R"({"model_type":"bert"})");
  EXPECT_THAT(read_embedding_config(cached).pipeline.poolings, ElementsAre(Pooling::cls));
}

TEST_F(EmbeddingConfigTest, KnowsPromptsFromTheFilesAndElseFromTheFamily) {
  const auto text = [](const EmbeddingConfig& config, const char* name) {
    const NamedPrompt* prompt = config.find_prompt(name);
    return prompt ? prompt->text : "none";
  };
  const auto files = read("m", R"({"model_type":"bert"})",
                          {{"config_sentence_transformers.json",
                            R"({"prompts":{"search_query":"sq: ","topic":"t: ","document":null},
                                "default_prompt_name":"topic","similarity_fn_name":"dot"})"}});
  EXPECT_EQ(text(files, "query"), "sq: ");
  EXPECT_EQ(text(files, "topic"), "t: ");
  EXPECT_EQ(text(files, "document"), "none");
  EXPECT_EQ(files.default_prompt, "topic");
  EXPECT_EQ(files.similarity, "dot");
  const auto e5 = read("multilingual-e5-small", R"({"model_type":"bert"})");
  EXPECT_EQ(text(e5, "query"), "query: ");
  EXPECT_EQ(text(e5, "document"), "passage: ");
  EXPECT_EQ(e5.similarity, "cosine");
  EXPECT_EQ(e5.instruction, "");
  const auto qwen = read("Qwen3-Embedding-0.6B", R"({"model_type":"qwen3"})",
                         {{"config_sentence_transformers.json", R"({"prompts":{"query":"Instruct: find\nQuery:"}})"}});
  EXPECT_EQ(qwen.instruction, "Instruct: {}\nQuery:");
  EXPECT_EQ(read("x-embed", R"({"model_type":"qwen3"})").find_prompt("query")->text,
            "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:");
}

TEST_F(EmbeddingConfigTest, LimitsATextByPositionsAndFiles) {
  const auto most = [&](const std::string& config, const Files& files = {}) {
    return read("m", config, files).max_tokens;
  };
  EXPECT_EQ(most(R"({"model_type":"bert","max_position_embeddings":512})"), 512);
  EXPECT_EQ(most(R"({"model_type":"xlm-roberta","max_position_embeddings":514,"pad_token_id":1})"), 512);
  EXPECT_EQ(most(R"({"model_type":"bert","max_position_embeddings":512})",
                 {{"tokenizer_config.json", R"({"model_max_length":128})"}}),
            128);
  EXPECT_EQ(most(R"({"model_type":"bert","max_position_embeddings":512})",
                 {{"sentence_bert_config.json", R"({"max_seq_length":4096})"}}),
            512);
  EXPECT_EQ(most(R"({"model_type":"qwen3"})", {{"tokenizer_config.json", R"({"model_max_length":1e30})"}}), 0);
}

TEST_F(EmbeddingConfigTest, KnowsWhoseVectorsMayBeShortened) {
  EXPECT_FALSE(read("MiniLM", R"({"model_type":"bert"})").is_matryoshka);
  EXPECT_TRUE(read("nomic-embed-text-v1.5", R"({"model_type":"nomic_bert"})").is_matryoshka);
  EXPECT_TRUE(read("m", R"({"model_type":"bert","is_matryoshka":true})").is_matryoshka);
  EXPECT_THAT(read("m", R"({"model_type":"bert","matryoshka_dimensions":[32,64]})").dimensions, ElementsAre(32, 64));
  EXPECT_TRUE(
      read("m", R"({"model_type":"bert"})", {{"README.md", "---\ntags:\n- loss:MatryoshkaLoss\n---\n"}}).is_matryoshka);
}

TEST_F(EmbeddingConfigTest, RefusesWhatIsBrokenNamingThePlace) {
  EXPECT_THAT(refusal(modules("")), HasSubstr("must be a list of 1 to 64 modules"));
  EXPECT_THAT(refusal({{"modules.json", "{}"}}), HasSubstr("modules.json: must be a list"));
  EXPECT_THAT(refusal(modules(kTransformer)), HasSubstr("neither a pooling nor a matrix"));
  EXPECT_THAT(refusal(modules(std::string(kTransformer) + kPooling, {{"1_Pooling/config.json", "{}"}})),
              HasSubstr("1_Pooling/config.json: no pooling mode is set"));
  EXPECT_THAT(
      refusal(modules(std::string(kTransformer) + kPooling, {{"1_Pooling/config.json", R"({"pooling_mode":["x"]})"}})),
      HasSubstr("pooling_mode \"x\" is not known"));
  EXPECT_THAT(refusal(modules(std::string(kTransformer) + R"(,{"path":"../../etc","type":"x.Pooling"})")),
              HasSubstr("leads out of the model's folder"));
  EXPECT_THAT(refusal({{"config_sentence_transformers.json", R"({"default_prompt_name":"gone"})"}}),
              HasSubstr("default_prompt_name \"gone\" is not one of the prompts"));
}

TEST(ClassifierConfig, ReadsLabelsAndActivation) {
  using Activation = ClassifierConfig::Activation;
  const auto two = read_classifier_config(Json::parse(R"({"id2label":{"0":"NEGATIVE","1":"POSITIVE"}})"));
  EXPECT_THAT(two.labels, ElementsAre("NEGATIVE", "POSITIVE"));
  EXPECT_EQ(two.activation, Activation::softmax);
  EXPECT_EQ(read_classifier_config(Json::parse(R"({"id2label":{"0":"x"}})")).activation, Activation::sigmoid);
  EXPECT_EQ(read_classifier_config(Json::parse(R"({"num_labels":3})")).labels.back(), "LABEL_2");
  EXPECT_EQ(
      read_classifier_config(
          Json::parse(
              R"({"id2label":{"0":"x"},"sentence_transformers":{"activation_fn":"torch.nn.modules.linear.Identity"}})"))
          .activation,
      Activation::identity);
  EXPECT_EQ(
      read_classifier_config(
          Json::parse(
              R"({"id2label":{"0":"x"},"sbert_ce_default_activation_function":"torch.nn.modules.activation.Sigmoid"})"))
          .activation,
      Activation::sigmoid);
  EXPECT_THROW(read_classifier_config(Json::parse(R"({"sbert_ce_default_activation_function":"os.system"})")), Error);
}

}  // namespace
}  // namespace mlxk
