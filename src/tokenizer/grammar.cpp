#include "tokenizer/grammar.h"

#include "tokenizer/rust_tokenizer.h"

namespace mlxk {

struct Grammar::State {
  RustPtr<mlxk_grammar, mlxk_grammar_free> handle;
};

struct GrammarCompiler::State {
  std::shared_ptr<const Tokenizer> tokenizer;
  RustPtr<mlxk_grammar_env, mlxk_grammar_env_free> handle;
};

Grammar::Grammar(std::unique_ptr<State> state) : state_(std::move(state)) {}
Grammar::~Grammar() = default;
Grammar::Grammar(Grammar&&) noexcept = default;
Grammar& Grammar::operator=(Grammar&&) noexcept = default;

void Grammar::allowed(std::span<uint32_t> mask) {
  RustText error;
  const int status = mlxk_grammar_mask(state_->handle.get(), mask.data(), mask.size(), error.out());
  check_rust(status, error, ErrorKind::invalid, "grammar");
}

bool Grammar::accept(int32_t token) {
  RustText error;
  return mlxk_grammar_accept(state_->handle.get(), token, error.out()) == MLXK_OK;
}

GrammarCompiler::GrammarCompiler(std::shared_ptr<const Tokenizer> tokenizer) {
  const RustTokenizer& rust = rust_tokenizer(*tokenizer);
  const std::vector<int32_t>& eos = rust.eos_token_ids();
  mlxk_grammar_env* raw = nullptr;
  RustText error;
  const int status = mlxk_grammar_env_new(rust.handle(), eos.data(), eos.size(), &raw, error.out());
  check_rust(status, error, ErrorKind::unsupported, "grammar");
  auto state = std::make_shared<State>();
  state->handle.reset(raw);
  state->tokenizer = std::move(tokenizer);
  state_ = std::move(state);
}

GrammarCompiler::~GrammarCompiler() = default;

Grammar GrammarCompiler::compile(const char* kind, std::string_view source) const {
  mlxk_grammar* raw = nullptr;
  RustText error;
  const int status = mlxk_grammar_new(state_->handle.get(), kind, source.data(), source.size(), &raw, error.out());
  check_rust(status, error, ErrorKind::invalid, kind);
  auto state = std::make_unique<Grammar::State>();
  state->handle.reset(raw);
  return Grammar(std::move(state));
}

Grammar GrammarCompiler::json_schema(std::string_view schema) const { return compile("json_schema", schema); }
Grammar GrammarCompiler::regex(std::string_view pattern) const { return compile("regex", pattern); }
Grammar GrammarCompiler::lark(std::string_view grammar) const { return compile("lark", grammar); }

}  // namespace mlxk
