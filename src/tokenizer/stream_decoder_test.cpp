#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "base/error.h"
#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {
namespace {

// Pieces that each decoder treats specially, including the bytes of 叫 (E5 8F AB) and é (C3 A9) in both spellings.
const std::vector<std::string> kPieces = {
    "▁",      "▁▁",     "▁a",     "a",      "b",      "ab",     "▁hello", "wor",    "ld",    ".",     " .",
    "##x",    "##",     "don",    "n't",    "'",      " ' ",    "é",      "叫",     "🙂",    "w</w>", "</w>",
    "<0xE5>", "<0x8F>", "<0xAB>", "<0x41>", "<0xC3>", "<0xA9>", "<0x20>", "<0xFF>", "<0x4>", "|",     "<pad>",
    "å",      "ı",      "«",      "Ã",      "©",      "Ġ",      "Ġthe",   "Ċ",      "\n",    " ",     "do not",
    "<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "ð",      "Ł",      "Ļ",      "Ĥ"};

Json tokenizer_json(const Json& decoder) {
  Json json = Json::parse(R"({"version": "1.0", "added_tokens": [
      {"id": 900, "content": "<eos>", "special": true, "normalized": false},
      {"id": 901, "content": "<tool call>", "special": false, "normalized": false},
      {"id": 902, "content": "▁mark", "special": true, "normalized": false}]})");
  Json vocab = Json::object();
  for (const std::string& piece : kPieces) vocab[piece] = vocab.size();
  json["model"] = {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", "a"}};
  json["decoder"] = decoder;
  return json;
}

struct Kind {
  std::string name, decoder;
};

std::vector<Kind> kinds() {
  const std::string replace = R"({"type": "Replace", "pattern": {"String": "▁"}, "content": " "})";
  const std::string bytes = R"({"type": "ByteFallback"})", fuse = R"({"type": "Fuse"})";
  const std::string strip = R"({"type": "Strip", "content": " ", "start": 1, "stop": 0})";
  const auto metaspace = [](const char* scheme) {
    return fmt::format(R"({{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "{}", "split": false}})",
                       scheme);
  };
  const auto sequence = [](std::vector<std::string> parts) {
    return fmt::format(R"({{"type": "Sequence", "decoders": [{}]}})", fmt::join(parts, ","));
  };
  const std::string byte_level =
      R"({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true})";
  return {
      {"none", "null"},
      {"byte_level", byte_level},
      {"llama", sequence({replace, bytes, fuse, strip})},
      {"gemma", sequence({replace, bytes, fuse})},
      {"metaspace_always", metaspace("always")},
      {"metaspace_first", metaspace("first")},
      {"metaspace_never", metaspace("never")},
      {"bytes_then_metaspace", sequence({bytes, metaspace("always")})},
      {"metaspace_then_bytes", sequence({metaspace("always"), bytes})},
      {"metaspace_bytes_fuse", sequence({metaspace("first"), bytes, fuse, strip})},
      {"fuse_then_metaspace", sequence({bytes, fuse, metaspace("always")})},
      {"wordpiece", R"({"type": "WordPiece", "prefix": "##", "cleanup": true})"},
      {"wordpiece_plain", R"({"type": "WordPiece", "prefix": "##", "cleanup": false})"},
      {"bpe_suffix", R"({"type": "BPEDecoder", "suffix": "</w>"})"},
      {"ctc", R"({"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true})"},
      {"strip_each", sequence({R"({"type": "Strip", "content": "▁", "start": 1, "stop": 0})", replace})},
      {"replace_after_fuse",
       sequence({fuse, R"({"type": "Replace", "pattern": {"String": "aab"}, "content": "<aab>"})"})},
      {"regex_after_fuse", sequence({fuse, R"({"type": "Replace", "pattern": {"Regex": "a+b"}, "content": "X"})"})},
      {"byte_level_then_strip", sequence({byte_level, strip})},
      {"bytes_after_fuse", sequence({fuse, bytes})},
  };
}

bool whole_characters(const std::string& text) {
  try {
    Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

class StreamDecoderOf : public ::testing::TestWithParam<Kind> {};

TEST_P(StreamDecoderOf, gives_the_batch_text_in_whole_characters) {
  const auto tokenizer = Tokenizer::from_json(tokenizer_json(Json::parse(GetParam().decoder)).dump(), {}, "test");
  ASSERT_EQ(tokenizer->vocab_size(), static_cast<int32_t>(kPieces.size()) + 3);
  std::mt19937 random(7);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int trial = 0; trial < 1000; ++trial) {
    std::vector<int32_t> ids(static_cast<size_t>(draw(trial % 7 == 0 ? 0 : 1, 24)));
    // narrow draws make runs of bytes, repeated pieces and patterns across pieces likely
    const int low = draw(-1, tokenizer->vocab_size() - 1);
    const int high = draw(0, 1) ? tokenizer->vocab_size() : std::min(low + 7, tokenizer->vocab_size());
    for (int32_t& id : ids) id = draw(low, high);
    const bool skip = draw(0, 1) == 1;
    if (ids.empty() && GetParam().name == "bpe_suffix") continue;
    SCOPED_TRACE(fmt::format("{} skip {}", fmt::join(ids, " "), skip));

    StreamDecoder decoder(tokenizer, skip);
    std::string text;
    for (const int32_t id : ids) {
      const std::string piece = decoder.push(id);
      ASSERT_TRUE(whole_characters(piece));
      text += piece;
    }
    text += decoder.finish();
    ASSERT_EQ(text, tokenizer->decode(ids, skip));
  }
}

INSTANTIATE_TEST_SUITE_P(Decoders, StreamDecoderOf, ::testing::ValuesIn(kinds()),
                         [](const auto& info) { return info.param.name; });

TEST(StreamDecoder, holds_a_character_until_it_is_whole) {
  const auto tokenizer = Tokenizer::from_json(
      tokenizer_json({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}})
          .dump(),
      {}, "test");
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("å")), "");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("ı")), "");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("«")), "叫");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("Ã")), "");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("a")),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("Ã")), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
}

TEST(StreamDecoder, shows_text_at_once_where_it_can) {
  const auto tokenizer = Tokenizer::from_json(tokenizer_json(Json::parse(kinds()[2].decoder)).dump(), {}, "test");
  StreamDecoder decoder(tokenizer, true);
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("▁hello")), "hello");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("▁a")), " a");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("<eos>")), "");
  EXPECT_EQ(decoder.push(*tokenizer->token_to_id("▁")), " ");
}

}  // namespace
}  // namespace mlxk
