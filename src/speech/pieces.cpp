#include "speech/pieces.h"

#include <string_view>

#include "tokenizer/tokenizer.h"

namespace mlxk {

std::string text_of_piece(std::string piece) {
  constexpr std::string_view kSpace = "\xE2\x96\x81";
  if (piece.size() > 2 && piece.front() == '<' && piece.back() == '>') return {};
  for (size_t at = 0; (at = piece.find(kSpace, at)) != std::string::npos; ++at) piece.replace(at, kSpace.size(), " ");
  return piece;
}

std::vector<std::string> tokenizer_pieces(const Tokenizer& tokenizer, int64_t count) {
  std::vector<std::string> pieces;
  for (int64_t id = 0; id < count; ++id) {
    pieces.push_back(tokenizer.id_to_token(static_cast<int32_t>(id)).value_or(""));
  }
  return pieces;
}

}  // namespace mlxk
