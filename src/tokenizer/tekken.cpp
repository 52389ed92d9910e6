// Format: mistral-common's tekken.json: "config" (pattern, default_vocab_size, default_num_special_tokens), "vocab"
// (rank, token_bytes in base64) and "special_tokens" (rank, token_str).
#include "tokenizer/tekken.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "json/member.h"
#include "tokenizer/base64.h"
#include "tokenizer/tiktoken.h"

namespace mlxk {

namespace {

constexpr int64_t kMaxTokens = 1 << 22;

// The special tokens of files that list none (before version v7).
constexpr const char* kFirstSpecials[] = {"<unk>",
                                          "<s>",
                                          "</s>",
                                          "[INST]",
                                          "[/INST]",
                                          "[AVAILABLE_TOOLS]",
                                          "[/AVAILABLE_TOOLS]",
                                          "[TOOL_RESULTS]",
                                          "[/TOOL_RESULTS]",
                                          "[TOOL_CALLS]",
                                          "[IMG]",
                                          "<pad>",
                                          "[IMG_BREAK]",
                                          "[IMG_END]",
                                          "[PREFIX]",
                                          "[MIDDLE]",
                                          "[SUFFIX]",
                                          "[SYSTEM_PROMPT]",
                                          "[/SYSTEM_PROMPT]",
                                          "[TOOL_CONTENT]"};

class TekkenFile {
 public:
  TekkenFile(std::string_view content, const std::filesystem::path& path)
      : place_(path.string()), json_(parse_json(content, place_)), config_(value_at(json_, "config")) {}

  std::string pattern() const {
    const std::string pattern = string_at(config_, "pattern");
    if (pattern.empty()) fail("config.pattern", "must be a regex");
    return pattern;
  }

  /// The special tokens as AddedToken objects, one for each id below count().
  Json specials() const {
    const int64_t count = special_count();
    std::vector<std::string> names(static_cast<size_t>(count));
    const Json& listed = value_at(json_, "special_tokens");
    if (listed.is_array()) {
      for (const Json& token : listed) {
        const int64_t rank = number(token, "rank", "special_tokens", 0, count - 1);
        names[static_cast<size_t>(rank)] = string_at(token, "token_str");
      }
    } else {
      std::copy_n(kFirstSpecials, std::min(names.size(), std::size(kFirstSpecials)), names.begin());
    }
    Json specials = Json::array();
    for (size_t id = 0; id < names.size(); ++id) {
      if (names[id].empty()) names[id] = fmt::format("<SPECIAL_{}>", id);
      specials.push_back({{"id", id},
                          {"content", names[id]},
                          {"single_word", false},
                          {"lstrip", false},
                          {"rstrip", false},
                          {"normalized", false},
                          {"special", true}});
    }
    return specials;
  }

  int64_t special_count() const { return number(config_, "default_num_special_tokens", "config", 1, kMaxTokens / 2); }

  /// Those of the file's sequences that the vocabulary has room for.
  std::vector<BytesRank> ranks() const {
    const int64_t room =
        number(config_, "default_vocab_size", "config", special_count() + 1, kMaxTokens) - special_count();
    const Json& vocab = value_at(json_, "vocab");
    if (!vocab.is_array() || vocab.empty()) fail("vocab", "must be a list of tokens");
    std::vector<BytesRank> ranks;
    for (const Json& token : vocab) {
      const int64_t rank = number(token, "rank", "vocab", 0, kMaxTokens);
      if (rank >= room) continue;
      auto bytes = base64_decode(string_at(token, "token_bytes"));
      if (!bytes || bytes->empty()) fail("vocab", fmt::format("token_bytes of rank {} are not base64", rank));
      ranks.push_back({std::move(*bytes), static_cast<uint32_t>(rank)});
    }
    return ranks;
  }

 private:
  [[noreturn]] void fail(const std::string& key, const std::string& what) const {
    throw Error(ErrorKind::bad_model, fmt::format("[{}] {}: {}", place_, key, what));
  }

  int64_t number(const Json& object, const char* key, const char* where, int64_t low, int64_t high) const {
    const Json& value = value_at(object, key);
    if (!value.is_number_integer() || value.get<int64_t>() < low || value.get<int64_t>() > high) {
      fail(fmt::format("{}.{}", where, key),
           fmt::format("must be a whole number in [{}, {}], got {}", low, high, value.dump()));
    }
    return value.get<int64_t>();
  }

  std::string place_;
  Json json_;
  const Json& config_;
};

}  // namespace

std::string tokenizer_json_from_tekken(std::string_view content, const std::filesystem::path& path,
                                       TokenizerConfig& config) {
  const TekkenFile file(content, path);
  const Json specials = file.specials();
  const auto name = [&](std::string& own, const char* token) {
    const bool there =
        std::any_of(specials.begin(), specials.end(), [&](const Json& special) { return special["content"] == token; });
    if (own.empty() && there) own = token;
  };
  name(config.bos_token, "<s>");
  name(config.eos_token, "</s>");
  name(config.unk_token, "<unk>");
  name(config.pad_token, "<pad>");
  if (!config.add_bos_token) config.add_bos_token = true;
  return tokenizer_json_of_ranks(file.ranks(), file.pattern(), static_cast<uint32_t>(file.special_count()), specials);
}

}  // namespace mlxk
