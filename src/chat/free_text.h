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
  /// The compiler's tokenizer outlives it.
  FreeText(const GrammarCompiler& compiler, std::vector<std::string> markers);

  /// Sets the bits of all tokens that may come.
  void allowed(std::span<uint32_t> mask) const;
  /// Takes a token; the index of the marker that it completes.
  std::optional<size_t> accept(int32_t token);

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::string> markers_;
  size_t longest_ = 0;
  std::string tail_;  // of the text, what may begin a marker
  std::map<std::string, std::vector<int32_t>>
      crossing_;  // where the text ends with the key: tokens that complete a marker and go on
};

/// Sets the bits of ids below `count`, clears the others.
void set_all(std::span<uint32_t> mask, int32_t count);
void set_bit(std::span<uint32_t> mask, int32_t id, bool on);

}  // namespace mlxk
