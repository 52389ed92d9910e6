#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tokenizer/grammar.h"

namespace mlxk {

/// Any text up to a marker, token by token. A token that would reach behind the marker is not allowed, so that what
/// follows begins with a token of its own.
class FreeText {
 public:
  /// `beginnings` are markers that count only where the text begins with them, blanks aside. The compiler's tokenizer
  /// outlives it.
  FreeText(const GrammarCompiler& compiler, std::vector<std::string> markers, std::vector<std::string> beginnings = {});

  /// Sets the bits of all tokens that may come.
  void allowed(std::span<uint32_t> mask) const;
  /// Takes a token; the index of the marker that it completes, that of a beginning counted behind the markers'.
  std::optional<size_t> accept(int32_t token);
  /// The tokens of the beginning that the text has become; empty where it has become none.
  std::vector<int32_t> beginning() const { return beginning_ ? std::vector<int32_t>() : begun_tokens_; }

 private:
  std::optional<size_t> accept_beginning(int32_t token, const std::string& text);

  const Tokenizer& tokenizer_;
  std::vector<std::string> markers_, beginnings_;
  size_t longest_ = 0;
  std::string tail_;  // of the text, what may begin a marker
  /// Tokens that complete a marker and go on, where the text ends with the key.
  std::map<std::string, std::vector<int32_t>> crossing_;
  /// The same of beginnings, where the text is the key.
  std::map<std::string, std::vector<int32_t>> crossing_beginning_;
  bool beginning_;     // the text may become a beginning
  std::string begun_;  // it, without the blanks before it
  std::vector<int32_t> begun_tokens_;
};

/// Sets the bits of ids below `count`, clears the others.
void set_all(std::span<uint32_t> mask, int32_t count);
void set_bit(std::span<uint32_t> mask, int32_t id, bool on);

}  // namespace mlxk
