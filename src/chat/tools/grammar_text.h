#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json/json.h"
#include "tokenizer/tokenizer.h"

namespace mlxk {

/// A function that may be called.
struct ToolFunction {
  std::string name;
  Json parameters;  // an object: its schema
  // a schema that cannot be enforced in full is refused; otherwise unknown parts of it are ignored
  bool strict = false;
};

/// A Lark grammar under construction. Expressions are the text of rule bodies.
class GrammarText {
 public:
  /// `marks`: literals that may be special tokens of the vocabulary.
  GrammarText(const Tokenizer& tokenizer, const std::vector<std::string>& marks);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// Exactly `text`, with special tokens in it as such; empty for an empty text.
  std::string literal(std::string_view text) const;
  /// A JSON value of a schema within `tool`'s.
  std::string json(Json schema, const ToolFunction& tool) const;
  /// The arguments of `tool` as a JSON object.
  std::string arguments(const ToolFunction& tool) const;
  /// Any text up to and including the first `close`.
  std::string text_until(std::string_view close);
  /// Any text, possibly empty, without the vocabulary's special tokens.
  std::string text();
  /// A rule for `body`; returns its name.
  std::string rule(const std::string& body);
  /// The properties of an object, `separator` between them, each in the form that `member` returns; optional ones may
  /// be missing.
  using Member = std::function<std::string(const std::string& key, const Json& schema)>;
  std::string members(const Json& schema, const std::string& separator, const Member& member);
  std::string members(const ToolFunction& tool, const std::string& separator, const Member& member) {
    return members(tool.parameters, separator, member);
  }
  /// The whole grammar, with `start` as its start rule.
  std::string str(const std::string& start) const;

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::pair<std::string, int32_t>> special_;
  std::string rules_;
  int names_ = 0;
};

}  // namespace mlxk
