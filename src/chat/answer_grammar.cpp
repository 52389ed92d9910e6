#include "chat/answer_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "chat/closed_schema.h"
#include "chat/free_text.h"
#include "chat/tools/tool_format.h"
#include "chat/tools/typed_value.h"
#include "worker/token_constraint.h"

namespace mlxk {

namespace {
using Kind = AnswerGrammar::Kind;
using Choice = ToolOptions::Choice;

constexpr size_t kMaxKeys = 4096;  // of one object: compile time grows with the square of this

/// Throws invalid if an object of `schema` has too many keys.
void check_keys(const Json& schema, std::string_view place) {
  if (schema.is_object() && schema.size() > kMaxKeys) {
    throw Error(ErrorKind::invalid, fmt::format("[{}] an object of a schema may have at most {} keys, got {}", place,
                                                kMaxKeys, schema.size()));
  }
  if (!schema.is_structured()) return;
  for (const Json& item : schema) check_keys(item, place);
}

/// The schema of a JSON answer. Whitespace in it is limited: some models would write nothing else. `oneOf` is read as
/// `anyOf`. Throws invalid.
Json schema_of(const AnswerGrammar& grammar) {
  Json schema = {{"type", "object"}};
  if (grammar.kind == Kind::json_schema) {
    try {
      schema = parse_json(grammar.source, "json_schema", 128);
    } catch (const Error& error) {
      throw Error(ErrorKind::invalid, error.what());
    }
    check_keys(schema, "json_schema");
    schema = closed_schema(schema);
  }
  if (schema.is_object() && !schema.contains("x-guidance")) {
    schema["x-guidance"] = {{"whitespace_pattern", "[ \\n]{1,20}"}, {"coerce_one_of", true}};
  }
  return schema;
}

/// The phases of an answer: reasoning, text up to a call, then the part that a grammar constrains.
class AnswerConstraint : public TokenConstraint {
 public:
  explicit AnswerConstraint(std::shared_ptr<const Tokenizer> tokenizer) : tokenizer_(std::move(tokenizer)) {}
  AnswerConstraint(const AnswerConstraint& other)
      : text(other.text),
        behind_text(other.behind_text),
        reasoning(other.reasoning),
        reasoning_opens(other.reasoning_opens),
        tokenizer_(other.tokenizer_),
        in_reasoning_(other.in_reasoning_),
        at_start_(other.at_start_) {
    if (other.held_) held_ = &behind_text[static_cast<size_t>(other.held_ - other.behind_text.data())];
  }
  AnswerConstraint& operator=(const AnswerConstraint&) = delete;

  void allowed(std::span<uint32_t> mask) override {
    if (in_reasoning_) {
      reasoning->allowed(mask);
      if (!text) allow_end(mask, false);
    } else if (held_) {
      held_->allowed(mask);
    } else {
      text->allowed(mask);
    }
    if (at_start_ && reasoning_opens >= 0) set_bit(mask, reasoning_opens, true);
  }

  bool accept(int32_t token) override {
    const bool opens = std::exchange(at_start_, false) && token == reasoning_opens;
    if (opens || in_reasoning_) {
      in_reasoning_ = !reasoning->accept(token);
      return true;
    }
    if (held_) return held_->accept(token);
    if (is_end(token)) return true;
    const auto marker = text->accept(token);
    if (!marker) return true;
    held_ = &behind_text[std::min(*marker, behind_text.size() - 1)];
    for (const int32_t begun : text->beginning()) {
      if (!held_->accept(begun)) return false;  // a beginning is part of its grammar
    }
    return true;
  }

  /// Reasoning comes first: always, or if the answer begins with `opens`.
  void reason(const GrammarCompiler& compiler, const ReasoningFormat& format) {
    reasoning.emplace(compiler, std::vector<std::string>{format.close});
    in_reasoning_ = format.prompt_opens;
    if (format.prompt_opens) return;
    // The tag's first token distinguishes it from an answer only if it is one of the format's own.
    for (size_t size = format.open.size(); size > 1 && reasoning_opens < 0; --size) {
      const auto id = tokenizer_->token_to_id(format.open.substr(0, size));
      if (id && tokenizer_->token_bytes(*id) == format.open.substr(0, size)) reasoning_opens = *id;
    }
  }
  void hold(Grammar grammar) {
    behind_text.push_back(std::move(grammar));
    held_ = &behind_text.front();
  }

  std::optional<FreeText> text;       // the answer is free up to an opening
  std::vector<Grammar> behind_text;   // the grammar after each opening; without `text` the one grammar of the answer
  std::optional<FreeText> reasoning;  // up to its closing tag
  int32_t reasoning_opens = -1;       // the token that starts it

 private:
  bool is_end(int32_t token) const {
    const auto& ends = tokenizer_->eos_token_ids();
    return std::find(ends.begin(), ends.end(), token) != ends.end();
  }
  void allow_end(std::span<uint32_t> mask, bool on) const {
    for (const int32_t id : tokenizer_->eos_token_ids()) set_bit(mask, id, on);
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Grammar* held_ = nullptr;
  bool in_reasoning_ = false, at_start_ = true;
};

/// The functions that may be called, validated. Throws invalid naming the tool.
std::vector<ToolFunction> functions(const ToolOptions& tools) {
  std::vector<ToolFunction> all;
  for (size_t i = 0; i < tools.tools.size(); ++i) {
    const Json& tool = tools.tools[i];
    const auto bad = [&](const std::string& what) {
      throw Error(ErrorKind::invalid, fmt::format("[tools] tools[{}] {}", i, what));
    };
    if (!tool.is_object() || !tool.contains("function") || !tool["function"].is_object()) bad("has no function");
    const Json& function = tool["function"];
    const Json name = function.value("name", Json());
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) bad("has no name");
    ToolFunction one{name.get<std::string>(), Json::object(), false};
    one.strict = function.value("strict", Json()) == true;
    const Json parameters = function.value("parameters", Json());
    if (!parameters.is_null() && !parameters.is_object()) bad(one.name + ": parameters must be an object");
    check_keys(parameters, "tools");
    one.parameters = parameters.is_null() ? Json{{"properties", Json::object()}} : parameters;
    one.parameters = closed_schema(one.parameters);
    if (!one.parameters.contains("type")) one.parameters["type"] = "object";
    if (tools.choice != Choice::named || one.name == tools.name) all.push_back(std::move(one));
  }
  if (all.empty())
    throw Error(ErrorKind::invalid, fmt::format("[tool_choice] there is no tool {}", json_text(tools.name)));
  return all;
}

/// The grammars of an answer: the one that it starts with, and those that this one refers to.
class AnswerText {
 public:
  AnswerText(const Tokenizer& tokenizer, const ToolFormat* format, const ReasoningFormat& reasoning)
      : format_(format), text_(tokenizer, marks(format, reasoning)) {}

  GrammarText& text() { return text_; }

  /// The constraint of the request.
  std::string answer(const AnswerGrammar& grammar) {
    Json part = {{"name", "answer"}};
    if (grammar.kind == Kind::json_object || grammar.kind == Kind::json_schema) {
      part["json_schema"] = schema_of(grammar);
    } else {
      part[grammar.kind == Kind::regex ? "regex" : "lark"] = grammar.source;
    }
    others_.push_back(std::move(part));
    return "@answer ";
  }

  /// The calls after `opening`.
  std::string calls(const std::vector<ToolFunction>& functions, const ToolOptions& tools, std::string_view opening) {
    std::string any;
    for (const ToolFunction& function : functions) {
      any += (any.empty() ? "" : " | ") + text_.rule(format_->call_grammar(text_, function, opening));
    }
    const std::string call = text_.rule(any) + " ";
    const CallSyntax syntax = format_->syntax(opening, text_.tokenizer());
    const bool several = tools.parallel && format_->name() != "harmony";
    const std::string separator = text_.literal(syntax.separator), end = text_.literal(syntax.end);
    const std::string first = text_.literal(syntax.begin) + call;
    if (!several) return first + end;
    if (syntax.one_section) return first + "(" + separator + call + ")* " + end;
    return first + end + "(" + separator + text_.literal(opening) + first + end + ")* ";
  }

  /// In gpt-oss, reasoning and calls are separate messages.
  std::string harmony(const std::optional<std::string>& final, const std::string& calls) {
    const auto message = [&](std::string_view channel) {
      return text_.literal(fmt::format("<|channel|>{}<|message|>", channel)) + text_.text() +
             text_.literal("<|end|><|start|>assistant");
    };
    const std::string before = text_.rule(message("analysis") + (calls.empty() ? "" : " | " + message("commentary")));
    std::string last;
    if (final) {
      last = text_.literal("<|channel|>final") + "(" + text_.literal(" ") + "? " + text_.literal("<|constrain|>json") +
             ")? " + text_.literal("<|message|>") + *final;
    }
    const std::string either = last.empty() ? calls : calls.empty() ? last : last + " | " + calls;
    return before + "* (" + either + ")";
  }

  Grammar compile(const GrammarCompiler& compiler, const std::string& start) {
    const std::string lark = text_.str(start);
    if (others_.empty()) return compiler.lark(lark);
    Json all = Json::array({{{"name", "start"}, {"lark", lark}}});
    for (const Json& other : others_) all.push_back(other);
    return compiler.grammars(json_text({{"grammars", all}}));
  }

 private:
  static std::vector<std::string> marks(const ToolFormat* format, const ReasoningFormat& reasoning) {
    std::vector<std::string> all = reasoning.markers();
    if (!format) return all;
    for (const auto& more : {format->openings(), format->marks()}) all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  const ToolFormat* format_;
  GrammarText text_;
  Json others_ = Json::array();
};

Grammar plain_grammar(const GrammarCompiler& compiler, const AnswerGrammar& grammar) {
  switch (grammar.kind) {
    case Kind::lark: return compiler.lark(grammar.source);
    case Kind::regex: return compiler.regex(grammar.source);
    default: return compiler.json_schema(json_text(schema_of(grammar)));
  }
}

/// Finds the tool that cannot be compiled, for the message. Throws.
[[noreturn]] void blame_tool(const GrammarCompiler& compiler, const std::vector<ToolFunction>& functions,
                             const Error& error) {
  for (const ToolFunction& function : functions) {
    Json schema = function.parameters;
    if (!function.strict) schema["x-guidance"] = {{"lenient", true}};
    try {
      compiler.json_schema(json_text(schema));
    } catch (const Error& its) {
      throw Error(ErrorKind::invalid, fmt::format("[tools] {}: {}", function.name, its.what()));
    }
  }
  throw Error(ErrorKind::invalid, fmt::format("[tools] {}", error.what()));
}
}  // namespace

std::shared_ptr<TokenConstraint> make_constraint(const GrammarCompiler& compiler, const AnswerGrammar& grammar,
                                                 const ToolOptions& tools, const ToolFormat* format,
                                                 const ReasoningFormat& reasoning) {
  const bool must_call = tools.active() && tools.choice != Choice::automatic;
  const bool may_call = tools.active() && format;
  if (must_call && !format)
    throw Error(ErrorKind::invalid, "[tool_choice] this model's chat template has no tool calls");
  if (grammar.kind == Kind::none && !may_call) return nullptr;

  const auto tokenizer = compiler.tokenizer();
  const bool harmony = reasoning.kind == ReasoningFormat::Kind::harmony;
  const std::vector<ToolFunction> called = may_call ? functions(tools) : std::vector<ToolFunction>();
  auto constraint = std::make_shared<AnswerConstraint>(tokenizer);
  if (reasoning.kind == ReasoningFormat::Kind::tags) constraint->reason(compiler, reasoning);
  // After reasoning, whitespace precedes the answer.
  const std::string blanks = constraint->reasoning ? "/[ \\t\\r\\n]{1,8}/? " : "";
  if (grammar.kind != Kind::none) plain_grammar(compiler, grammar);  // errors name it as the client wrote it

  try {
    if (harmony) {
      AnswerText answer(*tokenizer, format, reasoning);
      const std::string calls = may_call ? answer.calls(called, tools, "") : "";
      std::optional<std::string> final;
      if (!must_call) final = grammar.kind == Kind::none ? answer.text().text() : answer.answer(grammar);
      constraint->hold(answer.compile(compiler, answer.harmony(final, calls)));
    } else if (!may_call && blanks.empty()) {
      constraint->hold(plain_grammar(compiler, grammar));
    } else if (may_call && !must_call && grammar.kind == Kind::none) {
      std::vector<std::string> openings = format->openings(), beginnings;
      for (const ToolFunction& function : called) {
        if (format->bare()) beginnings.push_back(format->bare_beginning(function.name));
      }
      constraint->text.emplace(compiler, openings, beginnings);
      if (format->bare()) openings.emplace_back();
      for (const std::string& opening : openings) {
        AnswerText answer(*tokenizer, format, reasoning);
        const std::string before = opening.empty() ? "/[ \\t\\r\\n]+/? " : "";
        constraint->behind_text.push_back(answer.compile(compiler, before + answer.calls(called, tools, opening)));
      }
    } else {
      AnswerText answer(*tokenizer, format, reasoning);
      std::string start;
      if (may_call) {
        const std::string opening = format->written_opening();
        start = answer.text().literal(opening) + answer.calls(called, tools, opening);
      }
      if (!must_call) start = answer.answer(grammar) + (start.empty() ? "" : "| " + start);
      constraint->hold(answer.compile(compiler, blanks + "(" + start + ")"));
    }
  } catch (const Error& error) {
    if (called.empty() || error.kind() != ErrorKind::invalid) throw;
    blame_tool(compiler, called, error);
  }
  return constraint;
}

std::shared_ptr<TokenConstraint> another_constraint(const std::shared_ptr<TokenConstraint>& constraint) {
  if (!constraint) return nullptr;
  return std::make_shared<AnswerConstraint>(dynamic_cast<const AnswerConstraint&>(*constraint));
}

}  // namespace mlxk
