#include "backend/prefix_key.h"

#include <algorithm>
#include <cstdlib>

namespace mlxk {

namespace {

// With fewer placeholders the key would hold too little of a digest: 31 bits each.
constexpr int64_t kMinPlaceholders = 4;

/// The i-th eighth of a SHA-256 in hex, as a negative number.
int32_t word_of(const std::string& digest, int64_t i) {
  const std::string word = digest.substr(static_cast<size_t>(i % 8) * 8, 8);
  return static_cast<int32_t>(static_cast<uint32_t>(std::strtoul(word.c_str(), nullptr, 16)) | 0x80000000U);
}

}  // namespace

PrefixKey prefix_key(const GenerateRequest& request) {
  PrefixKey key{request.cache_scope, request.prompt, !request.prompt_logprobs};
  for (const MediaItem& item : request.media) {
    int64_t replaced = 0;
    for (int64_t at = item.begin; at < item.end; ++at) {
      int32_t& token = key.tokens[static_cast<size_t>(at)];
      if (token == item.placeholder) token = word_of(item.data->digest, replaced++);
    }
    key.shareable = key.shareable && replaced >= kMinPlaceholders;
  }
  // The keys and values of tokens that attend to later ones depend on the rest of the prompt.
  for (const TokenRange& range : request.attend_both_ways) {
    const auto begin = key.tokens.begin() + range.begin, end = key.tokens.begin() + range.end;
    key.shareable = key.shareable && std::all_of(begin, end, [](int32_t token) { return token < 0; });
  }
  return key;
}

}  // namespace mlxk
