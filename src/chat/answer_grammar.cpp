#include "chat/answer_grammar.h"

#include <utility>

namespace mlxk {

namespace {
/// A grammar from the first token to the last.
class GrammarConstraint : public TokenConstraint {
 public:
  explicit GrammarConstraint(Grammar grammar) : grammar_(std::move(grammar)) {}
  void allowed(std::span<uint32_t> mask) override { grammar_.allowed(mask); }
  bool accept(int32_t token) override { return grammar_.accept(token); }

 private:
  Grammar grammar_;
};

Grammar compile(const GrammarCompiler& compiler, const AnswerGrammar& grammar) {
  switch (grammar.kind) {
    case AnswerGrammar::Kind::json_schema: return compiler.json_schema(grammar.source);
    case AnswerGrammar::Kind::lark: return compiler.lark(grammar.source);
    case AnswerGrammar::Kind::regex: return compiler.regex(grammar.source);
    default: return compiler.json_schema(R"({"type": "object"})");
  }
}
}  // namespace

std::shared_ptr<TokenConstraint> make_constraint(const GrammarCompiler& compiler, const AnswerGrammar& grammar,
                                                 const ToolOptions&, const ToolFormat*, const ReasoningFormat&) {
  if (grammar.kind == AnswerGrammar::Kind::none) return nullptr;
  return std::make_shared<GrammarConstraint>(compile(compiler, grammar));
}

}  // namespace mlxk
