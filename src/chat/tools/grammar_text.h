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
  // a schema that cannot be held to in full is refused; otherwise what is not known of it is left out
  bool strict = false;
};

/// A Lark grammar in the making. Expressions are text that stands in the bodies of rules.
class GrammarText {
 public:
  /// `marks`: literals that may be special tokens of the vocabulary.
  GrammarText(const Tokenizer& tokenizer, const std::vector<std::string>& marks);

  const Tokenizer& tokenizer() const { return tokenizer_; }
  /// Exactly `text`, special tokens in it as such; empty for an empty text.
  std::string literal(std::string_view text) const;
  /// A JSON value of a schema within `tool`'s.
  std::string json(Json schema, const ToolFunction& tool) const;
  /// The arguments of `tool` as a JSON object.
  std::string arguments(const ToolFunction& tool) const;
  /// Any text up to the first `close`, which is part of it.
  std::string text_until(std::string_view close);
  /// Any text of the special tokens' vocabulary without them, maybe none.
  std::string text();
  /// A name for `body`.
  std::string rule(const std::string& body);
  /// The properties of an object, `separator` between them, each as `member` writes it; those not required may be
  /// missing.
  using Member = std::function<std::string(const std::string& key, const Json& schema)>;
  std::string members(const Json& schema, const std::string& separator, const Member& member);
  std::string members(const ToolFunction& tool, const std::string& separator, const Member& member) {
    return members(tool.parameters, separator, member);
  }
  /// The whole grammar, which is `start`.
  std::string str(const std::string& start) const;

 private:
  const Tokenizer& tokenizer_;
  std::vector<std::pair<std::string, int32_t>> special_;
  std::string rules_;
  int names_ = 0;
};

}  // namespace mlxk
