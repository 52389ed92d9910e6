#include "serving/text_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hub/testing/fake_cache.h"
#include "serving/testing/tiny_model.h"
#include "serving/text_prompt.h"

namespace mlxk {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kBegin = 263, kEnd = 264;

/// Bytes between two special tokens, at most 32 of all.
class TextEncoderTest : public testing::FakeCache {
 protected:
  std::shared_ptr<const TextEncoder> load(const std::vector<std::string>& labels = {}) {
    const fs::path folder = workspaces_ / (labels.empty() ? "vectors" : "ranks");
    testing::write_tiny_embedder(folder, labels);
    return TextEncoder::load(probe_model(resolve_model(folder.string())));
  }
};

TEST_F(TextEncoderTest, PutsThePromptAndTheSpecialTokensAroundAText) {
  const auto encoder = load();
  const EncodedText text = encoder->encode("bc", {"query", "x:"}, Truncate::none);
  EXPECT_THAT(text.ids, ElementsAre(kBegin, 'x', ':', 'b', 'c', kEnd));
  EXPECT_EQ(text.prompt_tokens, 3);  // the special one before it too
  EXPECT_EQ(text.second_begin, -1);
  EXPECT_FALSE(text.is_cut);
  EXPECT_EQ(encoder->encode("bc", {}, Truncate::none).prompt_tokens, 0);
  EXPECT_THROW(encoder->encode("", {"", "x:"}, Truncate::none), Error);
}

TEST_F(TextEncoderTest, LeavesOutTheEndOrTheStartButNeverThePrompt) {
  const auto encoder = load();
  const std::string text = "b" + std::string(40, 'm') + "e";
  EXPECT_THROW(encoder->encode(text, {}, Truncate::none), TextTooLongForModel);
  const EncodedText end = encoder->encode(text, {"", "p"}, Truncate::end),
                    start = encoder->encode(text, {"", "p"}, Truncate::start);
  for (const EncodedText* one : {&end, &start}) {
    EXPECT_EQ(one->ids.size(), 32);
    EXPECT_TRUE(one->is_cut);
    EXPECT_EQ(one->ids[1], 'p');
    EXPECT_EQ(one->ids.back(), kEnd);
  }
  EXPECT_EQ(end.ids[2], 'b');
  EXPECT_EQ(start.ids[30], 'e');
  EXPECT_THROW(encoder->encode("text", {"", std::string(40, 'p')}, Truncate::end), Error);
}

TEST_F(TextEncoderTest, TakesAPairTheLongerOneCutFirst) {
  const auto encoder = load({"score"});
  const EncodedText pair = encoder->encode_pair(encoder->ranking_query("q"), "dd", Truncate::none);
  EXPECT_THAT(pair.ids, ElementsAre(kBegin, 'q', kEnd, 'd', 'd', kEnd));
  EXPECT_EQ(pair.second_begin, 3);
  const auto count = [&](size_t query, size_t document, char letter) {
    const auto ids =
        encoder->encode_pair(encoder->ranking_query(std::string(query, 'q')), std::string(document, 'd'), Truncate::end)
            .ids;
    EXPECT_LE(ids.size(), 32);
    return std::count(ids.begin(), ids.end(), letter);
  };
  EXPECT_EQ(count(5, 90, 'q'), 5);
  EXPECT_EQ(count(5, 90, 'd'), 24);
  EXPECT_EQ(count(90, 5, 'q'), 24);
  EXPECT_EQ(count(90, 5, 'd'), 5);
  EXPECT_EQ(count(90, 90, 'q'), 14);  // as the tokenizers library shares an odd number
  EXPECT_EQ(count(90, 90, 'd'), 15);
  EXPECT_EQ(encoder->encode_pair(encoder->ranking_query("q"), "dddd", Truncate::end, 2).ids.size(), 6);
}

TEST_F(TextEncoderTest, PadsQueriesAndSkipsTokensOfDocuments) {
  const fs::path folder = workspaces_ / "late";
  testing::write_tiny_embedder(folder);
  Json tokenizer = read_json(folder / "tokenizer.json");
  tokenizer["added_tokens"].push_back({{"id", 269},
                                       {"content", "[MASK]"},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false},
                                       {"normalized", false},
                                       {"special", true}});
  testing::write(folder / "tokenizer.json", dump_json(tokenizer));
  testing::write(folder / "modules.json",
                 R"([{"path":"","type":"sentence_transformers.models.Transformer"},
                     {"path":"1_Dense","type":"pylate.models.Dense.Dense"}])");
  testing::write(
      folder / "config_sentence_transformers.json",
      R"({"query_prefix":"q","document_prefix":"d","query_length":8,"document_length":6,"skiplist_words":["."]})");
  const auto encoder = TextEncoder::load(probe_model(resolve_model(folder.string())));
  const auto prompt = [&](const char* name) { return *encoder->config().find_prompt(name); };
  const EncodedText query = encoder->encode("b", prompt("query"), Truncate::none);
  EXPECT_THAT(query.ids, ElementsAre(kBegin, 'q', 'b', kEnd, 269, 269, 269, 269));
  EXPECT_EQ(query.attended, 4);
  const EncodedText document = encoder->encode("b.c", prompt("document"), Truncate::none);
  EXPECT_THAT(document.ids, ElementsAre(kBegin, 'd', 'b', '.', 'c', kEnd));
  EXPECT_THAT(document.without_vector, ElementsAre(3));
  EXPECT_EQ(document.attended, 0);
  EXPECT_THROW(encoder->encode("b.cc", prompt("document"), Truncate::none), TextTooLongForModel);
  EXPECT_EQ(encoder->encode_masked("a[MASK]b", Truncate::none).masked, 2);
  EXPECT_THROW(encoder->encode_masked("ab", Truncate::none), Error);
}

TEST_F(TextEncoderTest, ASparseVectorHasTheLargestWeightOfEachId) {
  const TokenWeights found = load()->sparse_vector({{kBegin, 'b', 'a', 'b', 'c'}, {9, 1, 2, 3, 0}});
  EXPECT_THAT(found.ids, ElementsAre('a', 'b'));
  EXPECT_THAT(found.weights, ElementsAre(2, 3));
}

TEST(Vectors, AreShortenedBeforeTheyAreNormalized) {
  std::vector<float> vector = {3, 4, 12};
  finish_vector(vector, 2, true);
  EXPECT_THAT(vector, ElementsAre(0.6F, 0.8F));
  std::vector<float> zeros = {0, 0};
  finish_vector(zeros, 0, true);
  EXPECT_THAT(zeros, ElementsAre(0, 0));
}

TEST(Scores, FollowTheActivation) {
  using Activation = ClassifierConfig::Activation;
  EXPECT_THAT(activate({2}, Activation::identity), ElementsAre(2));
  EXPECT_THAT(activate({0}, Activation::sigmoid), ElementsAre(0.5F));
  EXPECT_THAT(activate({1000, 1000}, Activation::softmax), ElementsAre(0.5F, 0.5F));
}

TEST(Prompts, OfAModelWithoutAnyAreNotNeeded) {
  const EmbeddingConfig none;
  EXPECT_EQ(choose_prompt(none, {.input_type = "query"}).text, "");
  EXPECT_THROW(choose_prompt(none, {.input_type = "clustering"}), Error);
  EXPECT_EQ(choose_prompt(none, {.instruction = "find: "}).text, "find: ");
  EmbeddingConfig instructed;
  instructed.instruction = "Instruct: {}\nQuery:";
  EXPECT_EQ(choose_prompt(instructed, {.instruction = "find"}).text, "Instruct: find\nQuery:");
}

}  // namespace
}  // namespace mlxk
