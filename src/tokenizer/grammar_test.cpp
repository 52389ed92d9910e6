#include "tokenizer/grammar.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "json/json.h"

namespace mlxk {
namespace {

/// A byte-level vocabulary: ids 0–93 are the characters from '!' on, then some longer pieces.
std::shared_ptr<const Tokenizer> small_tokenizer() {
  Json vocab = Json::object();
  for (char c = '!'; c <= '~'; ++c) vocab[std::string(1, c)] = vocab.size();
  for (const char* piece : {"Ġ", "Ċ", "true", "false", "\":", "age", "{\"", "<eos>"}) vocab[piece] = vocab.size();
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  const Json json = {{"added_tokens", {{{"id", vocab["<eos>"]}, {"content", "<eos>"}, {"special", true}}}},
                     {"pre_tokenizer", byte_level},
                     {"decoder", byte_level},
                     {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array()}}}};
  return Tokenizer::from_json(json.dump(), {{"eos_token", "<eos>"}}, "test");
}

class GrammarTest : public ::testing::Test {
 protected:
  std::vector<std::string> allowed(Grammar& grammar) {
    std::vector<uint32_t> mask(static_cast<size_t>(tokenizer_->vocab_size() + 31) / 32);
    grammar.allowed(mask);
    std::vector<std::string> tokens;
    for (int32_t id = 0; id < tokenizer_->vocab_size(); ++id) {
      if (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) tokens.push_back(*tokenizer_->id_to_token(id));
    }
    return tokens;
  }
  bool accept(Grammar& grammar, const char* token) { return grammar.accept(*tokenizer_->token_to_id(token)); }

  std::shared_ptr<const Tokenizer> tokenizer_ = small_tokenizer();
  GrammarCompiler compiler_{tokenizer_};
};

TEST_F(GrammarTest, keeps_an_answer_inside_its_schema) {
  Grammar grammar = compiler_.json_schema(R"({"type": "object", "properties": {"age": {"type": "integer",
      "minimum": 0, "maximum": 150}}, "required": ["age"], "additionalProperties": false})");
  for (const char* token : {"{\"", "age", "\":"}) ASSERT_TRUE(accept(grammar, token)) << token;
  auto tokens = allowed(grammar);
  EXPECT_TRUE(std::find(tokens.begin(), tokens.end(), "4") != tokens.end());
  EXPECT_TRUE(std::find(tokens.begin(), tokens.end(), "true") == tokens.end());
  ASSERT_TRUE(accept(grammar, "4"));
  ASSERT_TRUE(accept(grammar, "2"));
  EXPECT_FALSE(accept(grammar, "0"));  // 420
}

TEST_F(GrammarTest, allows_only_the_end_after_the_end) {
  Grammar grammar = compiler_.regex("true|false");
  EXPECT_EQ(allowed(grammar), (std::vector<std::string>{"f", "t", "true", "false"}));
  ASSERT_TRUE(accept(grammar, "true"));
  EXPECT_EQ(allowed(grammar), std::vector<std::string>{"<eos>"});
}

TEST_F(GrammarTest, reads_lark) {
  Grammar grammar = compiler_.lark("start: \"a\" | \"b\"");
  EXPECT_EQ(allowed(grammar), (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(accept(grammar, "b"));
}

TEST_F(GrammarTest, refuses_a_bad_grammar) {
  for (const char* schema : {"{", "[]", R"({"type": "colour"})", R"({"$ref": "#/nowhere"})", R"({"pattern": 1})"}) {
    SCOPED_TRACE(schema);
    EXPECT_THROW(compiler_.json_schema(schema), Error);
  }
  EXPECT_THROW(compiler_.regex("("), Error);
  EXPECT_THROW(compiler_.lark("start: nowhere"), Error);
}

TEST_F(GrammarTest, names_a_dangling_reference_as_it_is_written) {
  const auto schema = [](const std::string& reference) {
    return R"({"$defs":{"a b":{"type":"string"},"l":{"anyOf":[{"type":"null"}]}},"type":"object","required":["x"],)"
           R"("properties":{"x":{"$ref":")" +
           reference + "\"}}}";
  };
  for (const char* reference :
       {"#/$defs/None", "#/$defs/a%20c", "#/$defs/l/anyOf/1", "#nowhere", "https://example.org/other.json"}) {
    try {
      compiler_.json_schema(schema(reference));
      ADD_FAILURE() << reference;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid);
      EXPECT_EQ(error.what(), std::string("[json_schema] $ref \"") + reference + "\" points to nothing in the schema");
    }
  }
  compiler_.json_schema(schema("#/$defs/a%20b"));
  compiler_.json_schema(schema("#/$defs/l/anyOf/0"));
}

TEST(GrammarCompiler, refuses_a_vocabulary_that_spells_no_bytes) {
  const Json words = Json::parse(R"({"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
      "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}})");
  const auto tokenizer = Tokenizer::from_json(words.dump(), {{"eos_token", "a"}}, "test");
  EXPECT_THROW(GrammarCompiler compiler(tokenizer), Error);
}

}  // namespace
}  // namespace mlxk
