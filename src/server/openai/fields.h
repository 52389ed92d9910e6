#pragma once

#include <string>
#include <utility>
#include <vector>

#include "json/json.h"
#include "server/openai/params.h"
#include "server/openai/schema.h"

namespace mlxk {

/// The value of a field that was given and is not null; nullptr otherwise.
const Json* given(const Json& body, const char* name);

/// How a field is treated.
enum class FieldUse {
  honoured,
  without_effect,  // taken and forgotten
  refused,
};

/// One field of a request. The same table checks it, reads it and documents it.
template <class Params>
struct Field {
  std::string name;
  FieldUse use;
  Json schema;       // of its value; unless it is required, null is as good as absent
  std::string text;  // its meaning
  /// Takes the value, or the schema's default; the whole body was checked before. Null if the field is read together
  /// with others.
  void (*read)(const Json& value, Params& params) = nullptr;
  bool required = false;

  /// A field that is checked and then forgotten.
  static Field ignored(const char* name, Json schema, const char* text) {
    return {name, FieldUse::without_effect, std::move(schema), text};
  }
  /// A field that is refused for `reason`, unless its value is null or one of `harmless`.
  static Field refused(const char* name, const char* reason, const Json& harmless = Json::array()) {
    return {name, FieldUse::refused, schema::unsupported(reason, harmless), reason};
  }
};

/// Reads `fields` in the order of the table, each from its value or its default.
template <class Params>
void read_fields(const std::vector<Field<Params>>& fields, const Json& body, Params& params) {
  for (const auto& field : fields) {
    if (!field.read) continue;
    if (const Json* value = given(body, field.name.c_str())) {
      field.read(*value, params);
    } else if (field.schema.contains("default")) {
      field.read(field.schema["default"], params);
    }
  }
}

/// Adds the schemas of `fields` to the schema of a body.
template <class Params>
void add_properties(const std::vector<Field<Params>>& fields, Json& schema) {
  for (const auto& field : fields) {
    Json property = field.required ? field.schema : schema::nullable(field.schema);
    if (!property.contains("description")) property["description"] = field.text;
    const char* use = field.use == FieldUse::honoured  ? "honoured"
                      : field.use == FieldUse::refused ? "refused"
                                                       : "without effect";
    property["x-mlxk-use"] = use;
    schema["properties"][field.name] = std::move(property);
    if (field.required) schema["required"].push_back(field.name);
  }
}

/// The fields that both endpoints have; `model` is the first.
const std::vector<Field<AnswerParams>>& answer_fields();
/// Those that vLLM, llama.cpp, LM Studio and mlx-lm add, for both endpoints.
const std::vector<Field<AnswerParams>>& compat_fields();
const std::vector<Field<ChatParams>>& chat_fields();
const std::vector<Field<CompletionParams>>& completion_fields();

/// The JSON Schema of a request's body: `own` fields, those of answer_fields() and of compat_fields().
template <class Params>
Json body_schema(const std::vector<Field<Params>>& own);

extern template Json body_schema(const std::vector<Field<ChatParams>>&);
extern template Json body_schema(const std::vector<Field<CompletionParams>>&);

const Json& chat_schema();
const Json& completion_schema();
/// The field of answer_fields() that is called so.
const Field<AnswerParams>& answer_field(const std::string& name);

/// Checks that apply to several fields together, once each was read; throws ApiError 400.
void finish_chat(const Json& body, ChatParams& params);
void finish_completion(const Json& body, CompletionParams& params);

/// The template variables from reasoning_effort and chat_template_kwargs of a checked body; throws ApiError 400.
Json template_kwargs(const Json& body);

inline constexpr int kMaxAnswers = 32;  // to one prompt

/// Holds `body` to `schema`; throws ApiError 400 and names unknown fields in a warning log.
void check_body(const Json& schema, const Json& body);

/// An ApiError 400 about `param`.
[[noreturn]] void refuse_field(const std::string& param, const std::string& message,
                               const char* code = "invalid_value");

}  // namespace mlxk
