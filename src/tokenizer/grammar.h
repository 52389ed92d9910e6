#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace mlxk {

/// Which tokens keep the text within a grammar; one running answer. One thread at a time.
class Grammar {
 public:
  ~Grammar();
  Grammar(Grammar&&) noexcept;
  Grammar& operator=(Grammar&&) noexcept;
  /// An independent copy; throws invalid.
  Grammar(const Grammar& other);
  Grammar& operator=(const Grammar&) = delete;

  /// Sets bit i of `mask` (ceil(vocab / 32) words) for every id allowed next, including an end-of-sequence id if the
  /// text may end; clears the others. Throws invalid if the grammar exceeds its work limit.
  void allowed(std::span<uint32_t> mask);
  /// Takes the chosen token; returns false if it violates the grammar. Throws invalid like allowed().
  bool accept(int32_t token);

 private:
  friend class GrammarCompiler;
  struct State;
  explicit Grammar(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A tokenizer's vocabulary prepared for grammars (some 0.2 s at 50k tokens: once per model). Immutable, any thread.
class GrammarCompiler {
 public:
  /// Throws unsupported for a vocabulary whose tokens are not bytes (WordPiece) or without an end-of-sequence id.
  explicit GrammarCompiler(std::shared_ptr<const Tokenizer> tokenizer);
  ~GrammarCompiler();

  const std::shared_ptr<const Tokenizer>& tokenizer() const;
  /// The ordinary tokens that begin with `text` and continue after it; with `anywhere`, those that contain it and
  /// continue.
  std::vector<int32_t> tokens_beyond(std::string_view text, bool anywhere) const;

  // Each takes a source of at most kMaxSource bytes; a source among the last kMaxKept is not compiled again.
  static constexpr size_t kMaxSource = size_t{512} << 10, kMaxKept = 32;

  /// The texts that `schema` (JSON Schema as text) accepts; throws invalid naming its error.
  Grammar json_schema(std::string_view schema) const;
  /// The texts that match `pattern` completely; throws invalid.
  Grammar regex(std::string_view pattern) const;
  /// A Lark grammar (rule `start`); throws invalid.
  Grammar lark(std::string_view grammar) const;
  /// Several grammars as JSON, {"grammars": [{"name", and one of "lark", "json_schema", "regex"}, …]}: the first, a
  /// Lark grammar that refers to the others as @name.
  Grammar grammars(std::string_view json) const;
  /// Grammars compiled so far, for tests and metrics.
  uint64_t compiled() const;

 private:
  Grammar get(const char* kind, std::string_view source) const;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace mlxk
