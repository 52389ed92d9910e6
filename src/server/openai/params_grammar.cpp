#include "server/openai/params_grammar.h"

#include <fmt/format.h>

#include <string>

#include "server/openai/fields.h"

namespace mlxk {
namespace {

using namespace schema;
using Kind = AnswerGrammar::Kind;

constexpr size_t kMaxGrammar = 256 << 10;  // bytes of a schema's, grammar's or pattern's text
constexpr size_t kMaxChoices = 1000;

/// Constrains the answer by `source`, the value of `param`.
void hold(AnswerParams& params, Kind kind, std::string source, const std::string& param) {
  if (source.size() > kMaxGrammar) {
    refuse_field(param, fmt::format("{} must have at most {} bytes, got {}", param, kMaxGrammar, source.size()));
  }
  const std::string field = param.substr(0, param.find('.'));
  if (params.grammar.kind != Kind::none) {
    refuse_field(field, fmt::format("{} and {} both say what the answer is held to: give one of them", field,
                                    params.grammar_field));
  }
  params.grammar = {kind, std::move(source)};
  params.grammar_field = field;
}

/// A schema as an object, or as its text.
void hold_to_schema(AnswerParams& params, const Json& schema, const std::string& param) {
  hold(params, Kind::json_schema, schema.is_string() ? schema.get<std::string>() : schema.dump(), param);
}

void hold_to_choice(AnswerParams& params, const Json& choices, const std::string& param) {
  std::string lark = "start: ";
  for (const Json& choice : choices) lark += (lark.back() == ' ' ? "" : " | ") + choice.dump();
  hold(params, Kind::lark, std::move(lark), param);
}

}  // namespace

Json response_format_schema() {
  const Json json_schema = object({{"name", text(1, 64)},
                                   {"description", nullable(text())},
                                   {"schema", nullable(object())},
                                   {"strict", nullable(boolean())}});
  const Json schema = nullable(object());
  return any_of({object({{"type", one_of({"text"})}}, {"type"}),
                 object({{"type", one_of({"json_object"})}, {"schema", schema}}, {"type"}),
                 object({{"type", one_of({"json_schema"})}, {"json_schema", nullable(json_schema)}, {"schema", schema}},
                        {"type"})});
}

Json grammar_schema() {
  return any_of({object({{"type", one_of({"lark", "regex"})}, {"source", text(1, kMaxGrammar)}}, {"type", "source"}),
                 one_of({""})});
}

Json guided_json_schema() { return any_of({object(), text(1, kMaxGrammar)}); }

Json choices_schema() { return array(text(1, 1024), 1, kMaxChoices); }

Json structured_outputs_schema() {
  return object({{"json", nullable(guided_json_schema())},
                 {"regex", nullable(text(1, kMaxGrammar))},
                 {"choice", nullable(choices_schema())},
                 {"json_object", nullable(boolean())},
                 {"grammar", unsupported("use grammar, which takes Lark grammars")},
                 {"structural_tag", unsupported("tools hold calls to their schemas")},
                 {"whitespace_pattern", unsupported("whitespace in JSON is bounded")},
                 {"disable_fallback", nullable(boolean())},
                 {"disable_any_whitespace", unsupported("whitespace in JSON is bounded", Json::array({false}))},
                 {"disable_additional_properties",
                  unsupported("the schema says it by additionalProperties", Json::array({false}))}});
}

void read_response_format(const Json& value, AnswerParams& params) {
  if (value["type"] == "text") return;
  const Json* named = value["type"] == "json_schema" ? given(value, "json_schema") : nullptr;
  const Json* schema = named ? given(*named, "schema") : given(value, "schema");
  if (schema)
    return hold_to_schema(params, *schema, named ? "response_format.json_schema.schema" : "response_format.schema");
  if (value["type"] == "json_schema" && !named) {
    refuse_field("response_format.json_schema", "response_format.json_schema is required",
                 "missing_required_parameter");
  }
  hold(params, Kind::json_object, {}, "response_format");
}

void read_grammar(const Json& value, AnswerParams& params) {
  if (value.is_string()) return;  // llama.cpp's default: none
  hold(params, value["type"] == "lark" ? Kind::lark : Kind::regex, value["source"], "grammar.source");
}

void read_json_schema(const Json& value, AnswerParams& params) { hold_to_schema(params, value, "json_schema"); }

void read_structured_outputs(const Json& value, AnswerParams& params) {
  const std::string at = "structured_outputs.";
  if (const Json* schema = given(value, "json")) hold_to_schema(params, *schema, at + "json");
  if (const Json* pattern = given(value, "regex")) hold(params, Kind::regex, *pattern, at + "regex");
  if (const Json* choices = given(value, "choice")) hold_to_choice(params, *choices, at + "choice");
  if (const Json* any = given(value, "json_object"); any && any->get<bool>())
    hold(params, Kind::json_object, {}, at + "json_object");
}

void read_guided_json(const Json& value, AnswerParams& params) { hold_to_schema(params, value, "guided_json"); }

void read_guided_regex(const Json& value, AnswerParams& params) { hold(params, Kind::regex, value, "guided_regex"); }

void read_guided_choice(const Json& value, AnswerParams& params) { hold_to_choice(params, value, "guided_choice"); }

}  // namespace mlxk
