#include "chat/dry_breakers.h"

#include <algorithm>

namespace mlxk {

std::vector<std::vector<int32_t>> dry_breakers(const Tokenizer& tokenizer, const std::vector<std::string>& breakers) {
  std::vector<std::vector<int32_t>> result;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string text = tokenizer.token_bytes(id);
    for (const std::string& breaker : breakers) {
      if (text.find(breaker) != text.npos) {
        result.push_back({id});
        continue;
      }
      for (size_t begun = std::min(text.size(), breaker.size() - 1); begun > 0; --begun) {
        if (text.compare(text.size() - begun, begun, breaker, 0, begun) != 0) continue;
        std::vector<int32_t> sequence = tokenizer.encode(breaker.substr(begun), false);
        sequence.insert(sequence.begin(), id);
        result.push_back(std::move(sequence));
      }
    }
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

}  // namespace mlxk
