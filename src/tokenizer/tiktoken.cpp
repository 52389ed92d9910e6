// Format: one `base64(bytes) rank` a line (openai/tiktoken); patterns from the families' published tokenizers.
#include "tokenizer/tiktoken.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "tokenizer/base64.h"
#include "tokenizer/bpe_merges.h"

namespace mlxk {

namespace {

constexpr const char* kGpt2 = R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// cl100k; Llama 3 has the same.
constexpr const char* kCl100k =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kKimi =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|)"
    R"(\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Splits off the first line.
std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::optional<BytesRank> parse_line(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return std::nullopt;
  auto bytes = base64_decode(line.substr(0, space));
  uint32_t rank = 0;
  const char* end = line.data() + line.size();
  const auto number = std::from_chars(line.data() + space + 1, end, rank);
  if (!bytes || number.ec != std::errc() || number.ptr != end || rank >= 1u << 24) return std::nullopt;
  return BytesRank{std::move(*bytes), rank};
}

/// GPT-2's alphabet: every byte as a printable character.
std::string byte_level(std::string_view bytes) {
  static const std::vector<std::string> alphabet = [] {
    std::vector<std::string> characters(256);
    uint32_t other = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const uint32_t code = printable ? byte : other++;
      if (code < 0x80) {
        characters[byte] = {static_cast<char>(code)};
      } else {
        characters[byte] = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
      }
    }
    return characters;
  }();
  std::string text;
  for (const char c : bytes) text += alphabet[static_cast<unsigned char>(c)];
  return text;
}

void add_special(TokenizerConfig& config, uint32_t id, const std::string& content) {
  config.added_tokens.push_back({{"id", id}, {"content", content}, {"special", true}, {"normalized", false}});
}

void add_qwen_specials(TokenizerConfig& config, uint32_t next) {
  for (const char* token : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) add_special(config, next++, token);
  for (int i = 0; i < 205; ++i) add_special(config, next++, fmt::format("<|extra_{}|>", i));
  if (config.eos_token.empty()) config.eos_token = "<|endoftext|>";
}

void add_llama3_specials(TokenizerConfig& config, uint32_t next) {
  int reserved = 0;
  const auto reserve = [&](int count) {
    for (int i = 0; i < count; ++i)
      add_special(config, next++, fmt::format("<|reserved_special_token_{}|>", reserved++));
  };
  add_special(config, next++, "<|begin_of_text|>");
  add_special(config, next++, "<|end_of_text|>");
  reserve(4);
  add_special(config, next++, "<|start_header_id|>");
  add_special(config, next++, "<|end_header_id|>");
  reserve(1);
  add_special(config, next++, "<|eot_id|>");
  reserve(246);
  if (config.bos_token.empty()) config.bos_token = "<|begin_of_text|>";
  if (config.eos_token.empty()) config.eos_token = "<|end_of_text|>";
  if (!config.add_bos_token) config.add_bos_token = true;
}

/// The split pattern; adds the special tokens if the files do not list them.
const char* family_pattern(const std::filesystem::path& path, TokenizerConfig& config, uint32_t next) {
  const std::string name = path.filename().string();
  const bool specials = config.added_tokens.empty();
  if (name == "qwen.tiktoken") {
    if (specials) add_qwen_specials(config, next);
    return kQwen;
  }
  if (name == "tiktoken.model") return kKimi;
  if (name == "tokenizer.model") {
    if (specials) add_llama3_specials(config, next);
    return kCl100k;
  }
  if (name == "gpt2.tiktoken" || name == "multilingual.tiktoken") return kGpt2;
  if (name == "cl100k_base.tiktoken") return kCl100k;
  throw Error(ErrorKind::unsupported,
              fmt::format("[{}] the split pattern of this tiktoken file is not known", path.string()),
              "known names: qwen.tiktoken, tiktoken.model, tokenizer.model, gpt2.tiktoken, multilingual.tiktoken, "
              "cl100k_base.tiktoken");
}

}  // namespace

bool looks_like_tiktoken(std::string_view content) {
  content = content.substr(0, 1024);
  return parse_line(take_line(content)).has_value();
}

std::string tokenizer_json_of_ranks(std::vector<BytesRank> ranks, const std::string& pattern, uint32_t first_id,
                                    const Json& specials) {
  std::sort(ranks.begin(), ranks.end(), [](const BytesRank& a, const BytesRank& b) { return a.rank < b.rank; });
  PieceIds ids;
  ids.reserve(ranks.size());
  std::vector<std::string_view> order;
  std::string vocab;
  const auto add = [&](const std::string& token, uint32_t id) {
    vocab += fmt::format("{}{}:{}", vocab.empty() ? "" : ",", json_string(token), id);
  };
  for (const Json& special : specials) add(special.at("content").get<std::string>(), special.at("id").get<uint32_t>());
  for (const BytesRank& rank : ranks) {
    if (!ids.emplace(rank.bytes, rank.rank).second) continue;
    order.push_back(rank.bytes);
    add(byte_level(rank.bytes), rank.rank + first_id);
  }
  std::string merges;
  for (const auto& [left, right] : bpe_merges(order, ids, false)) {
    merges += fmt::format("{}[{},{}]", merges.empty() ? "" : ",", json_string(byte_level(left)),
                          json_string(byte_level(right)));
  }
  return fmt::format(R"({{"version":"1.0","added_tokens":{},"pre_tokenizer":{{"type":"Sequence","pretokenizers":[)"
                     R"({{"type":"Split","pattern":{{"Regex":{}}},"behavior":"Isolated","invert":false}},)"
                     R"({{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}}]}},)"
                     R"("decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},)"
                     R"("model":{{"type":"BPE","ignore_merges":true,"vocab":{{{}}},"merges":[{}]}}}})",
                     specials.dump(), Json(pattern).dump(), vocab, merges);
}

std::string tokenizer_json_from_tiktoken(std::string_view content, const std::filesystem::path& path,
                                         TokenizerConfig& config) {
  std::vector<BytesRank> ranks;
  uint32_t last = 0;
  for (int number = 1; !content.empty(); ++number) {
    const std::string_view line = take_line(content);
    if (line.empty()) continue;
    auto rank = parse_line(line);
    if (!rank) throw Error(ErrorKind::bad_model, fmt::format("[{}] line {}: not `base64 rank`", path.string(), number));
    last = std::max(last, rank->rank);
    ranks.push_back(std::move(*rank));
  }
  if (ranks.empty()) throw Error(ErrorKind::bad_model, fmt::format("[{}] is empty", path.string()));
  const std::string pattern = family_pattern(path, config, last + 1);
  return tokenizer_json_of_ranks(std::move(ranks), pattern);
}

}  // namespace mlxk
