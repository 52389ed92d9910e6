#pragma once

#include <memory>
#include <string>

#include "chat/reasoning.h"
#include "chat/tools.h"
#include "tokenizer/grammar.h"

namespace mlxk {

class TokenConstraint;

/// The constraint on an answer's text.
struct AnswerGrammar {
  enum class Kind { none, json_object, json_schema, lark, regex } kind = Kind::none;
  std::string source;  // the schema as JSON text, the grammar, the pattern
};

/// The constraint of an answer: its grammar and the schemas of its tool calls, applied after any reasoning; null if
/// nothing is constrained. Throws invalid saying what is wrong with the schema or grammar, within a bounded time. Any
/// thread.
std::shared_ptr<TokenConstraint> make_constraint(const GrammarCompiler& compiler, const AnswerGrammar& grammar,
                                                 const ToolOptions& tools, const ToolFormat* format,
                                                 const ReasoningFormat& reasoning);

/// A copy of `constraint`, which make_constraint returned and nobody has used yet, for another answer; null for null.
/// It neither searches the vocabulary nor compiles anything.
std::shared_ptr<TokenConstraint> another_constraint(const std::shared_ptr<TokenConstraint>& constraint);

}  // namespace mlxk
