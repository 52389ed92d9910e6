#pragma once

#include <memory>
#include <string>

#include "chat/reasoning.h"
#include "chat/tools.h"
#include "tokenizer/grammar.h"

namespace mlxk {

class TokenConstraint;

/// What an answer's text is held to.
struct AnswerGrammar {
  enum class Kind { none, json_object, json_schema, lark, regex } kind = Kind::none;
  std::string source;  // the schema as JSON text, the grammar, the pattern
};

/// The constraint of an answer: its grammar, its tool calls held to their schemas, both once reasoning has ended; null
/// where nothing is constrained. Throws invalid saying what is wrong with the schema or grammar, within a bounded time.
/// Any thread.
std::shared_ptr<TokenConstraint> make_constraint(const GrammarCompiler& compiler, const AnswerGrammar& grammar,
                                                 const ToolOptions& tools, const ToolFormat* format,
                                                 const ReasoningFormat& reasoning);

/// One as `constraint`, which make_constraint gave and nobody has used yet, for another answer; null for null. Looks
/// nothing up in the vocabulary and compiles nothing.
std::shared_ptr<TokenConstraint> another_constraint(const std::shared_ptr<TokenConstraint>& constraint);

}  // namespace mlxk
