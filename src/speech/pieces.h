#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mlxk {

class Tokenizer;

/// A piece as text: U+2581 begins a word and becomes a space; pieces in angle brackets are special and have none.
std::string text_of_piece(std::string piece);

/// The first `count` tokens as the tokenizer's vocabulary spells them; past its end they are empty.
std::vector<std::string> tokenizer_pieces(const Tokenizer& tokenizer, int64_t count);

}  // namespace mlxk
