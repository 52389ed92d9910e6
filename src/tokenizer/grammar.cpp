#include "tokenizer/grammar.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <future>
#include <list>
#include <mutex>
#include <string>
#include <utility>

#include "json/json.h"
#include "tokenizer/rust_tokenizer.h"

namespace mlxk {

struct Grammar::State {
  RustPtr<mlxk_grammar, mlxk_grammar_free> handle;
};

namespace {
constexpr size_t kMaxShownReference = 200;  // bytes

using Handle = RustPtr<mlxk_grammar, mlxk_grammar_free>;

/// A compiled grammar, which is copied for each answer.
struct Prototype {
  std::mutex mutex;  // while it is copied
  Handle handle;
};

/// Whether `reference`, a JSON pointer in a URI's fragment ("#/$defs/a%20b"), points to a value in `root`.
bool leads_somewhere(const Json& root, std::string_view reference) {
  std::string pointer;
  for (size_t i = 1; i < reference.size(); ++i) {
    unsigned byte = 0;
    const char* digits = reference.data() + i + 1;
    if (reference[i] == '%' && i + 2 < reference.size() &&
        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      pointer += static_cast<char>(byte);
      i += 2;
    } else {
      pointer += reference[i];
    }
  }
  try {
    return root.contains(Json::json_pointer(pointer));
  } catch (const Json::exception&) {
    return false;
  }
}

/// The first dangling $ref of `value`, as it is written; empty: there is none. References into other documents dangle,
/// because nothing is fetched, unless `root` names parts of itself ($id, $anchor).
std::string dangling_reference(const Json& root, const Json& value, bool has_names) {
  if (value.is_object()) {
    const auto found = value.find("$ref");
    if (found != value.end() && found->is_string()) {
      const auto& reference = found->get_ref<const std::string&>();
      const bool pointer = reference == "#" || reference.starts_with("#/");
      if (pointer ? !leads_somewhere(root, reference) : !has_names) return reference;
    }
  }
  if (!value.is_structured()) return {};
  for (const Json& item : value) {
    if (std::string reference = dangling_reference(root, item, has_names); !reference.empty()) return reference;
  }
  return {};
}

/// The error for a schema that cannot be compiled because of a reference; the compiler names another place.
void check_references(std::string_view schema) {
  const Json root = Json::parse(schema, nullptr, false);
  const bool has_names = schema.find("\"$id\"") != schema.npos || schema.find("\"$anchor\"") != schema.npos;
  const std::string reference = dangling_reference(root, root, has_names);
  if (!reference.empty())
    throw Error(ErrorKind::invalid, fmt::format("[json_schema] $ref \"{}\" points to nothing in the schema",
                                                reference.substr(0, kMaxShownReference)));
}
}  // namespace

struct GrammarCompiler::State {
  std::shared_ptr<const Tokenizer> tokenizer;
  RustPtr<mlxk_grammar_env, mlxk_grammar_env_free> handle;

  using Compiled = std::shared_future<std::shared_ptr<Prototype>>;
  struct Kept {
    std::string source;  // the kind's name before it
    uint64_t number;
    Compiled compiled;
  };
  std::mutex mutex;
  std::list<Kept> kept;  // most recently used first
  uint64_t count = 0;

  std::shared_ptr<Prototype> compile(const char* kind, std::string_view source) const;
  std::shared_ptr<Prototype> find_or_compile(const char* kind, std::string_view source);
};

Grammar::Grammar(std::unique_ptr<State> state) : state_(std::move(state)) {}
Grammar::~Grammar() = default;
Grammar::Grammar(Grammar&&) noexcept = default;
Grammar& Grammar::operator=(Grammar&&) noexcept = default;
Grammar::Grammar(const Grammar& other) : state_(std::make_unique<State>()) {
  mlxk_grammar* raw = nullptr;
  RustText error;
  check_rust(mlxk_grammar_clone(other.state_->handle.get(), &raw, error.out()), error, ErrorKind::invalid, "grammar");
  state_->handle.reset(raw);
}

void Grammar::allowed(std::span<uint32_t> mask) {
  RustText error;
  const int status = mlxk_grammar_mask(state_->handle.get(), mask.data(), mask.size(), error.out());
  check_rust(status, error, ErrorKind::invalid, "grammar");
}

bool Grammar::accept(int32_t token) {
  RustText error;
  const int status = mlxk_grammar_accept(state_->handle.get(), token, error.out());
  if (status == MLXK_TOO_COMPLEX) check_rust(status, error, ErrorKind::invalid, "grammar");
  return status == MLXK_OK;
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

std::shared_ptr<Prototype> GrammarCompiler::State::compile(const char* kind, std::string_view source) const {
  mlxk_grammar* raw = nullptr;
  RustText error;
  const int status = mlxk_grammar_new(handle.get(), kind, source.data(), source.size(), &raw, error.out());
  if (status != MLXK_OK && kind == std::string_view("json_schema")) check_references(source);
  check_rust(status, error, ErrorKind::invalid, kind);
  auto made = std::make_shared<Prototype>();
  made->handle.reset(raw);
  return made;
}

std::shared_ptr<Prototype> GrammarCompiler::State::find_or_compile(const char* kind, std::string_view source) {
  const std::string key = std::string(kind) + '\0' + std::string(source);
  std::promise<std::shared_ptr<Prototype>> promise;
  std::unique_lock lock(mutex);
  for (auto entry = kept.begin(); entry != kept.end(); ++entry) {
    if (entry->source != key) continue;
    kept.splice(kept.begin(), kept, entry);
    const Compiled compiled = entry->compiled;
    lock.unlock();
    return compiled.get();  // waits if another thread compiles it
  }
  const uint64_t number = ++count;
  kept.push_front({key, number, promise.get_future().share()});
  if (kept.size() > kMaxKept) kept.pop_back();
  lock.unlock();
  try {
    auto made = compile(kind, source);
    promise.set_value(made);
    return made;
  } catch (...) {
    promise.set_exception(std::current_exception());
    lock.lock();
    kept.remove_if([&](const Kept& one) { return one.number == number; });
    throw;
  }
}

const std::shared_ptr<const Tokenizer>& GrammarCompiler::tokenizer() const { return state_->tokenizer; }

std::vector<int32_t> GrammarCompiler::tokens_beyond(std::string_view text, bool anywhere) const {
  RustText ids, error;
  const int status =
      mlxk_grammar_env_beyond(state_->handle.get(), text.data(), text.size(), anywhere, ids.out(), error.out());
  check_rust(status, error, ErrorKind::internal, "grammar");
  const std::string bytes = ids.str();
  std::vector<int32_t> out(bytes.size() / sizeof(int32_t));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(int32_t));
  return out;
}

uint64_t GrammarCompiler::compiled() const {
  const std::lock_guard lock(state_->mutex);
  return state_->count;
}

Grammar GrammarCompiler::get(const char* kind, std::string_view source) const {
  if (source.size() > kMaxSource) {
    throw Error(ErrorKind::invalid,
                fmt::format("[{}] a grammar may have at most {} bytes, got {}", kind, kMaxSource, source.size()));
  }
  const auto prototype = state_->find_or_compile(kind, source);
  mlxk_grammar* raw = nullptr;
  RustText error;
  {
    const std::lock_guard lock(prototype->mutex);
    check_rust(mlxk_grammar_clone(prototype->handle.get(), &raw, error.out()), error, ErrorKind::invalid, kind);
  }
  auto state = std::make_unique<Grammar::State>();
  state->handle.reset(raw);
  return Grammar(std::move(state));
}

Grammar GrammarCompiler::json_schema(std::string_view schema) const { return get("json_schema", schema); }
Grammar GrammarCompiler::regex(std::string_view pattern) const { return get("regex", pattern); }
Grammar GrammarCompiler::lark(std::string_view grammar) const { return get("lark", grammar); }
Grammar GrammarCompiler::grammars(std::string_view json) const { return get("grammars", json); }

}  // namespace mlxk
