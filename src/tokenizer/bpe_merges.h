#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mlxk {

using PieceIds = std::unordered_map<std::string_view, uint32_t>;

/// The merges that a vocabulary without a merge list implies: every split of a piece of `order` (best first) into two
/// pieces of `ids`; pieces longer than 256 bytes are not merged. The views point into `ids`.
std::vector<std::pair<std::string_view, std::string_view>> bpe_merges(const std::vector<std::string_view>& order,
                                                                      const PieceIds& ids, bool utf8);

/// `text` as a JSON string; invalid UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);

}  // namespace mlxk
