#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tokenizer/grammar.h"

namespace mlxk {

/// Any text up to a marker, token by token. A token that would extend past the marker is not allowed, so that the text
/// after it begins with a token of its own.
class FreeText {
 public:
  /// `beginnings` are markers that count only if the text begins with them, apart from whitespace. The compiler's
  /// tokenizer must outlive this object.
  FreeText(const GrammarCompiler& compiler, std::vector<std::string> markers, std::vector<std::string> beginnings = {});

  /// Sets the bits of all tokens that are allowed next.
  void allowed(std::span<uint32_t> mask) const;
  /// Takes a token; returns the index of the marker that it completes. The beginnings are numbered after the markers.
  std::optional<size_t> accept(int32_t token);
  /// The tokens of the beginning that the text matches; empty if there is none.
  std::vector<int32_t> beginning() const { return beginning_ ? std::vector<int32_t>() : begun_tokens_; }

 private:
  std::optional<size_t> accept_beginning(int32_t token, const std::string& text);

  const Tokenizer& tokenizer_;
  std::vector<std::string> markers_, beginnings_;
  size_t longest_ = 0;
  std::string tail_;  // the end of the text that may begin a marker
  /// Tokens that complete a marker and continue, if the text ends with the key.
  std::map<std::string, std::vector<int32_t>> crossing_;
  /// The same for beginnings, if the text is the key.
  std::map<std::string, std::vector<int32_t>> crossing_beginning_;
  bool beginning_;     // the text may become a beginning
  std::string begun_;  // the text without leading whitespace
  std::vector<int32_t> begun_tokens_;
};

/// Sets the bits of ids below `count`, clears the others.
void set_all(std::span<uint32_t> mask, int32_t count);
void set_bit(std::span<uint32_t> mask, int32_t id, bool on);

}  // namespace mlxk
