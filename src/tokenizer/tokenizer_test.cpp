#include "tokenizer/tokenizer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/testing/test_paths.h"
#include "json/json.h"
#include "tokenizer/sentencepiece.h"

namespace mlxk {
namespace {

const fs::path kData = fs::path(test_tree::kTestData) / "tokenizer";

std::string thrown(const std::function<void()>& body, ErrorKind kind) {
  try {
    body();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// Compares with the ids and texts of the reference library.
void expect_recorded(const Tokenizer& tokenizer, const std::string& name) {
  const Json expected = read_json(kData / "expected.json");
  ASSERT_TRUE(expected.contains(name));
  ASSERT_GE(expected[name].size(), 18u);
  for (const Json& row : expected[name]) {
    const auto text = row["text"].get<std::string>();
    SCOPED_TRACE(row["text"].dump());
    EXPECT_EQ(tokenizer.encode(text, false), row["ids"].get<std::vector<int32_t>>());
    if (row["decoded"].is_null()) continue;
    EXPECT_EQ(tokenizer.decode(row["ids"].get<std::vector<int32_t>>(), false), row["decoded"].get<std::string>());
  }
}

TEST(Tokenizer, reads_sentencepiece_bpe) {
  const auto tokenizer = Tokenizer::load(kData / "sp_bpe");
  expect_recorded(*tokenizer, "sp_bpe");
  EXPECT_EQ(tokenizer->bos_token(), "<s>");
  EXPECT_EQ(tokenizer->eos_token(), "</s>");
  EXPECT_EQ(tokenizer->eos_token_ids(), std::vector<int32_t>{2});
  EXPECT_EQ(tokenizer->encode("a", true).front(), 1);
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(*tokenizer->token_to_id("[INST]")));
  EXPECT_EQ(tokenizer->encode("<s>", false), std::vector<int32_t>{1});
}

TEST(Tokenizer, reads_sentencepiece_unigram_with_its_character_map) {
  expect_recorded(*Tokenizer::load(kData / "sp_unigram"), "sp_unigram");
}

TEST(Tokenizer, reads_sentencepiece_unigram_with_bytes) {
  expect_recorded(*Tokenizer::load(kData / "sp_unigram_bytes"), "sp_unigram_bytes");
}

TEST(Tokenizer, lists_the_pieces_of_a_sentencepiece_model) {
  for (const char* name : {"sp_bpe", "sp_unigram"}) {
    const fs::path file = kData / name / "tokenizer.model";
    const auto pieces = sentencepiece_pieces(read_file(file), file);
    const auto tokenizer = Tokenizer::load(kData / name);
    ASSERT_GT(pieces.size(), 10U);
    for (size_t id = 0; id < pieces.size(); ++id) {
      EXPECT_EQ(tokenizer->id_to_token(static_cast<int32_t>(id)), pieces[id]) << name << id;
    }
  }
  EXPECT_NE(thrown([] { sentencepiece_pieces("no model", "other.model"); }, ErrorKind::bad_model).find("other.model"),
            std::string::npos);
}

TEST(Tokenizer, reads_tiktoken) {
  const auto tokenizer = Tokenizer::load(kData / "tiktoken");
  expect_recorded(*tokenizer, "tiktoken");
  const int32_t eos = *tokenizer->token_to_id("<|endoftext|>");
  EXPECT_EQ(tokenizer->encode("a<|endoftext|>", false).back(), eos);
  EXPECT_EQ(tokenizer->eos_token_ids(), std::vector<int32_t>{eos});
}

TEST(Tokenizer, places_in_an_image_are_text_though_their_file_calls_them_special) {
  Json json = Json::parse(R"({"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}})");
  const char* contents[] = {"</s>", "<loc_0>", "<loc_17>", "<poly>", "</poly>", "<loc_>", "<loc_1a>"};
  for (const char* content : contents) {
    json["added_tokens"].push_back(
        {{"id", json["added_tokens"].size() + 1}, {"content", content}, {"special", true}, {"normalized", false}});
  }
  const auto tokenizer = Tokenizer::from_json(json.dump(), Json::object(), "test");
  const std::vector<int32_t> ids = tokenizer->encode("<loc_17><poly></s>", false);
  EXPECT_EQ(ids, (std::vector<int32_t>{3, 4, 1}));
  EXPECT_EQ(tokenizer->decode(ids, true), "<loc_17> <poly>");
  for (int32_t id = 1; id <= 7; ++id) EXPECT_EQ(tokenizer->is_special(id), id == 1 || id > 5) << id;
}

// Trained models are too large to keep: MLXK_TEST_MODELS names a folder that holds them.
class RealTokenizer : public ::testing::TestWithParam<const char*> {};

TEST_P(RealTokenizer, gives_the_ids_of_the_tokenizers_library) {
  const char* models = std::getenv("MLXK_TEST_MODELS");
  if (!models || !fs::exists(fs::path(models) / GetParam())) GTEST_SKIP() << "MLXK_TEST_MODELS: no " << GetParam();
  const auto tokenizer = Tokenizer::load(fs::path(models) / GetParam());
  expect_recorded(*tokenizer, GetParam());
  EXPECT_FALSE(tokenizer->eos_token_ids().empty());
}
INSTANTIATE_TEST_SUITE_P(Models, RealTokenizer, ::testing::Values("SmolLM2-135M-Instruct-4bit", "gemma-3-270m-8bit"));

constexpr const char* kByteLevel =
    R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false})";

/// A BPE tokenizer.json of a few tokens; `extra` is put before its other keys.
std::string small_json(const std::string& vocab = R"({"a": 0, "b": 1, "ab": 2, "<eos>": 3})",
                       const std::string& merges = R"(["a b"])", const std::string& extra = "") {
  return fmt::format(R"({{{}"added_tokens": [{{"id": 3, "content": "<eos>", "special": true}}],
      "pre_tokenizer": {}, "decoder": {}, "model": {{"type": "BPE", "vocab": {}, "merges": {}}}}})",
                     extra, kByteLevel, kByteLevel, vocab, merges);
}

TEST(Tokenizer, switches_truncation_and_padding_off) {
  const auto tokenizer = Tokenizer::from_json(
      small_json(R"({"a": 0, "b": 1, "ab": 2, "<eos>": 3})", R"([["a", "b"]])",
                 R"("truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
                    "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                                "pad_id": 0, "pad_type_id": 0, "pad_token": "a"},)"),
      {}, "test");
  EXPECT_EQ(tokenizer->encode("abab", false), (std::vector<int32_t>{2, 2}));
  EXPECT_EQ(tokenizer->encode("aaaa", false).size(), 4u);
}

TEST(Tokenizer, answers_for_ids_past_the_table) {
  const auto tokenizer = Tokenizer::from_json(small_json(), {}, "test");
  EXPECT_EQ(tokenizer->vocab_size(), 4);
  EXPECT_EQ(tokenizer->id_to_token(2), "ab");
  EXPECT_EQ(tokenizer->id_to_token(4), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(-1), std::nullopt);
  EXPECT_FALSE(tokenizer->is_special(77));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{0, 99, -5, INT32_MAX, 1}, true), "ab");
}

TEST(Tokenizer, tells_the_bytes_of_each_token) {
  const auto joined = [](const Tokenizer& tokenizer, std::string_view text) {
    std::string bytes;
    for (const int32_t id : tokenizer.encode(text, false)) bytes += tokenizer.token_bytes(id);
    return bytes;
  };
  EXPECT_EQ(joined(*Tokenizer::load(kData / "sp_bpe"), "Grüße 🙂 <s>"), " Grüße 🙂 <s>");
  EXPECT_EQ(joined(*Tokenizer::load(kData / "tiktoken"), " Grüße 🙂"), " Grüße 🙂");
  EXPECT_EQ(Tokenizer::from_json(small_json(), {}, "test")->token_bytes(-1), "");
  EXPECT_EQ(Tokenizer::from_json(small_json(), {}, "test")->token_bytes(99), "");
}

TEST(Tokenizer, takes_invalid_utf8) {
  const auto tokenizer = Tokenizer::from_json(small_json(), {}, "test");
  EXPECT_EQ(tokenizer->encode("a\xFF\xC3"
                              "a",
                              false),
            (std::vector<int32_t>{0, 0}));
}

TEST(Tokenizer, adds_the_tokens_of_its_config) {
  const Json config = Json::parse(R"({"added_tokens_decoder": {
      "4": {"content": "<tool>", "special": false}, "3": {"content": "<eos>", "special": true},
      "99": {"content": "<elsewhere>", "special": true}}, "eos_token": {"content": "<eos>"},
      "bos_token": "<tool>", "add_bos_token": true, "add_eos_token": true})");
  const auto tokenizer = Tokenizer::from_json(small_json(), config, "test");
  EXPECT_EQ(tokenizer->token_to_id("<tool>"), 4);
  EXPECT_EQ(tokenizer->token_to_id("<elsewhere>"), std::nullopt);
  EXPECT_EQ(tokenizer->encode("ab<tool>", true), (std::vector<int32_t>{4, 2, 4, 3}));
  EXPECT_EQ(tokenizer->encode("ab", false), (std::vector<int32_t>{2}));
  EXPECT_EQ(tokenizer->eos_token_ids(), (std::vector<int32_t>{3}));
}

TEST(Tokenizer, refuses_broken_files_by_name) {
  const std::vector<std::string> broken = {
      "",
      "{",
      "[]",
      "null",
      "{}",
      R"({"model": {"type": "BPE"}})",
      R"({"model": {"type": "Quantum", "vocab": {"a": 0}}})",
      R"({"model": {"type": "BPE", "vocab": [], "merges": []}})",
      R"({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})",
      R"({"model": {"type": "BPE", "vocab": {"a": 4294967295}, "merges": []}})",
      R"({"model": {"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.5]]}})",
      R"({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["a", 1e999]]}})",
      small_json(R"({"a": 0, "<eos>": 3})", R"(["a c"])"),
      small_json(R"({"a": 0, "<eos>": 3})", R"(["a"])"),
      small_json(R"({"a": 0, "<eos>": 3})", R"([["a", "a", "a"]])"),
      small_json(R"({"a": 0, "aa": 1})", R"([["aa", "aa"]])"),
      R"({"decoder": {"type": "Nothing"}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
      R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": false},
          "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
      R"({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "//////////8="},
          "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
      R"({"added_tokens": [{"id": 0}], "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
      "{\"normalizer\": " + std::string(100000, '[') + "}",
  };
  for (const std::string& json : broken) {
    SCOPED_TRACE(json.substr(0, 200));
    const auto text = thrown([&] { Tokenizer::from_json(json, {}, "dir/tokenizer.json"); }, ErrorKind::bad_model);
    EXPECT_EQ(text.rfind("[dir/tokenizer.json]", 0), 0u) << text;
  }
}

TEST(Tokenizer, survives_a_backtracking_bomb) {
  const auto tokenizer = Tokenizer::from_json(
      R"({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?=(a+)+b)a"}, "behavior": "Isolated",
          "invert": false}, "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}})",
      {}, "test");
  try {
    tokenizer->encode(std::string(5000, 'a'), false);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::bad_model);
  }
}

class ModelFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / fmt::format("mlxk_tokenizer_{}", ::getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const char* name, const std::string& text) { std::ofstream(folder_ / name, std::ios::binary) << text; }
  fs::path folder_;
};

TEST_F(ModelFolder, without_a_tokenizer_is_not_found) {
  const auto text = thrown([&] { Tokenizer::load(folder_); }, ErrorKind::not_found);
  EXPECT_NE(text.find(folder_.string()), std::string::npos);
}

TEST_F(ModelFolder, prefers_generation_config_for_the_end) {
  write("tokenizer.json", small_json());
  write("config.json", R"({"text_config": {"eos_token_id": 0}})");
  EXPECT_EQ(Tokenizer::load(folder_)->eos_token_ids(), std::vector<int32_t>{0});
  write("config.json", R"({"eos_token_id": 1, "text_config": {"eos_token_id": 0}})");
  EXPECT_EQ(Tokenizer::load(folder_)->eos_token_ids(), std::vector<int32_t>{1});
  write("generation_config.json", R"({"eos_token_id": [2, 1]})");
  write("tokenizer_config.json", R"({"eos_token": "<eos>"})");
  EXPECT_EQ(Tokenizer::load(folder_)->eos_token_ids(), (std::vector<int32_t>{2, 1, 3}));
  write("generation_config.json", R"({"eos_token_id": "2"})");
  EXPECT_NE(thrown([&] { Tokenizer::load(folder_); }, ErrorKind::bad_model).find("eos_token_id"), std::string::npos);
}

TEST_F(ModelFolder, repairs_mistrals_split) {
  const std::string split = R"({"type": "Split", "pattern": {"Regex": "\\p{L}+|\\p{N}{1,3}| "}, "behavior": "Isolated",
      "invert": false})";
  const std::string json = fmt::format(
      R"({{"added_tokens": [{{"id": 20, "content": "[INST]", "special": true}},
                            {{"id": 21, "content": "[/INST]", "special": true}}],
          "pre_tokenizer": {{"type": "Sequence", "pretokenizers": [{}, {}]}}, "decoder": {},
          "model": {{"type": "BPE", "vocab": {{"1": 0, "2": 1, "12": 2}}, "merges": ["1 2"]}}}})",
      split, kByteLevel, kByteLevel);
  write("tokenizer.json", json);
  const auto ids = [&](const char* config) {
    write("config.json", config);
    return Tokenizer::load(folder_)->encode("12", false);
  };
  const std::vector<int32_t> together = {2}, apart = {0, 1};
  EXPECT_EQ(ids(R"({"model_type": "mistral", "transformers_version": "4.51.0"})"), apart);
  EXPECT_EQ(ids(R"({"model_type": "mistral3", "transformers_version": "4.57.2"})"), apart);
  EXPECT_EQ(ids(R"({"model_type": "mistral", "transformers_version": "4.57.3"})"), together);
  EXPECT_EQ(ids(R"({"model_type": "mistral", "transformers_version": "4.38.2"})"), together);
  EXPECT_EQ(ids(R"({"model_type": "qwen2", "transformers_version": "4.51.0"})"), together);
}

TEST_F(ModelFolder, refuses_a_broken_sentencepiece_model) {
  std::string good = read_file(kData / "sp_bpe" / "tokenizer.model");
  for (const size_t size : {size_t{0}, size_t{1}, size_t{5}, good.size() / 2 + 1}) {
    write("tokenizer.model", good.substr(0, size));
    EXPECT_NE(thrown([&] { Tokenizer::load(folder_); }, ErrorKind::bad_model).find("tokenizer.model"),
              std::string::npos);
  }
  write("tokenizer.model", std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11));
  thrown([&] { Tokenizer::load(folder_); }, ErrorKind::bad_model);
}

TEST_F(ModelFolder, reads_tekken) {
  const std::string vocab = R"("vocab": [{"rank": 0, "token_bytes": "YQ=="}, {"rank": 1, "token_bytes": "Yg=="},
      {"rank": 2, "token_bytes": "YWI="}, {"rank": 3, "token_bytes": "YWJh"}])";
  const auto file = [&](const std::string& config, const std::string& rest) {
    write("tekken.json", fmt::format(R"({{"config": {{"pattern": "\\p{{L}}+", {}}}, {}}})", config, rest));
  };
  // Of four sequences the vocabulary has room for three; a file of old lists no special tokens.
  file(R"("default_vocab_size": 23, "default_num_special_tokens": 20)", vocab);
  const auto tokenizer = Tokenizer::load(folder_);
  EXPECT_EQ(tokenizer->encode("ababa", false), (std::vector<int32_t>{22, 22, 20}));
  EXPECT_EQ(tokenizer->encode("[INST]ab[/INST]", true), (std::vector<int32_t>{1, 3, 22, 4}));
  EXPECT_EQ(tokenizer->bos_token(), "<s>");
  EXPECT_EQ(tokenizer->eos_token_ids(), std::vector<int32_t>{2});
  EXPECT_TRUE(tokenizer->is_special(11));
  EXPECT_EQ(tokenizer->vocab_size(), 23);

  const auto refused = [&] { return thrown([&] { Tokenizer::load(folder_); }, ErrorKind::bad_model); };
  file(R"("default_vocab_size": 3, "default_num_special_tokens": 20)", vocab);
  EXPECT_NE(refused().find("config.default_vocab_size: must be a whole number in [21,"), std::string::npos);
  file(R"("default_vocab_size": 23)", vocab);
  EXPECT_NE(refused().find("config.default_num_special_tokens"), std::string::npos);
  file(R"("default_vocab_size": 23, "default_num_special_tokens": 20)",
       R"("vocab": [{"rank": 0, "token_bytes": "!"}])");
  EXPECT_NE(refused().find("token_bytes of rank 0 are not base64"), std::string::npos);
  file(R"("default_vocab_size": 23, "default_num_special_tokens": 20)",
       vocab + R"(, "special_tokens": [{"rank": 20, "token_str": "x"}])");
  EXPECT_NE(refused().find("special_tokens.rank: must be a whole number in [0, 19], got 20"), std::string::npos);
  write("tekken.json", "[]");
  EXPECT_NE(refused().find("tekken.json"), std::string::npos);
}

TEST_F(ModelFolder, refuses_a_tiktoken_file_it_does_not_know) {
  write("own.tiktoken", "IQ== 0\n");
  EXPECT_NE(thrown([&] { Tokenizer::load(folder_); }, ErrorKind::unsupported).find("own.tiktoken"), std::string::npos);
  fs::remove(folder_ / "own.tiktoken");
  write("qwen.tiktoken", "IQ== 0\nIg== x\n");
  EXPECT_NE(thrown([&] { Tokenizer::load(folder_); }, ErrorKind::bad_model).find("line 2"), std::string::npos);
}

TEST(Tokenizer, serves_many_threads) {
  const auto tokenizer = Tokenizer::load(kData / "sp_bpe");
  const auto expected = tokenizer->encode("The capital of France is Paris.", false);
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int k = 0; k < 200; ++k) wrong += tokenizer->encode("The capital of France is Paris.", false) != expected;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace mlxk
