#include "tokenizer/bpe_merges.h"

#include <algorithm>

#include "json/json.h"

namespace mlxk {

std::vector<std::pair<std::string_view, std::string_view>> bpe_merges(const std::vector<std::string_view>& order,
                                                                      const PieceIds& ids, bool utf8) {
  constexpr size_t kMaxPiece = 256;  // a merge list grows with the square of a piece's length
  struct Split {
    uint32_t left_id, right_id;
    std::string_view left, right;
  };
  std::vector<std::pair<std::string_view, std::string_view>> merges;
  std::vector<Split> splits;
  for (const std::string_view piece : order) {
    if (piece.size() > kMaxPiece) continue;
    splits.clear();
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if (utf8 && (static_cast<unsigned char>(piece[cut]) & 0xC0) == 0x80) continue;  // inside a character
      const auto left = ids.find(piece.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(piece.substr(cut));
      if (right == ids.end()) continue;
      splits.push_back({left->second, right->second, left->first, right->first});
    }
    std::sort(splits.begin(), splits.end(), [](const Split& a, const Split& b) {
      return std::pair(a.left_id, a.right_id) < std::pair(b.left_id, b.right_id);
    });
    for (const Split& split : splits) merges.emplace_back(split.left, split.right);
  }
  return merges;
}

std::string json_string(std::string_view text) {
  return Json(std::string(text)).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mlxk
