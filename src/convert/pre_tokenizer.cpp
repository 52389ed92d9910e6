// The names are those that llama.cpp's converter writes; the expressions are from the models' own tokenizer.json.
#include "convert/pre_tokenizer.h"

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace mlxk {

namespace {
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepseekLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr const char* kCjk = "[一-龥ࠀ-一가-퟿]+";

Json split(const char* expression) {
  return {{"type", "Split"}, {"pattern", {{"Regex", expression}}}, {"behavior", "Isolated"}, {"invert", false}};
}

Json digits() { return {{"type", "Digits"}, {"individual_digits", true}}; }

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json sequence(Json steps) { return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}}; }

Json splits(const std::vector<const char*>& expressions) {
  Json steps = Json::array();
  for (const auto* expression : expressions) steps.push_back(split(expression));
  steps.push_back(byte_level(false));
  return sequence(std::move(steps));
}

struct Row {
  std::vector<const char*> names;
  PreTokenizer pre;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      // clang-format off
      {{"gpt-2", "default", "phi-2", "mpt", "olmo", "jais", "roberta-bpe", "exaone4"}, {byte_level(true)}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"},
       {sequence({digits(), byte_level(true)})}},
      {{"llama-bpe", "llama3", "llama-v3"}, {splits({kLlama3}), false, true, true}},
      {{"smaug-bpe", "dbrx"}, {splits({kLlama3})}},
      {{"qwen2", "deepseek-r1-qwen"}, {splits({kQwen2}), true}},
      {{"stablelm2"}, {splits({kQwen2})}},
      {{"gpt-4o", "llama4"}, {splits({kGpt4o}), false, true}},
      {{"tekken"}, {splits({kTekken}), false, true}},
      {{"deepseek-v3"}, {splits({R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepseek3})}},
      {{"deepseek-coder"}, {sequence({split("[\r\n]"), split(R"(\s?\p{L}+)"), split(R"(\s?\p{P}+)"), split(kCjk), digits(), byte_level(false)})}},
      {{"deepseek-llm"}, {sequence({split("[\r\n]"), split(kDeepseekLetters), split(R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)"), split(R"(\s+$)"), split(kCjk), digits(), byte_level(false)})}},
      // clang-format on
  };
  return table;
}
}  // namespace

PreTokenizer find_pre_tokenizer(std::string_view name) {
  std::string known;
  for (const auto& row : rows()) {
    for (const auto* other : row.names) {
      if (name == other) return row.pre;
      known += known.empty() ? other : std::string(", ") + other;
    }
  }
  throw Error(ErrorKind::unsupported, fmt::format("[gguf] tokenizer.ggml.pre \"{}\" is not known", name.substr(0, 80)),
              "known: " + known);
}

}  // namespace mlxk
