#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "json/json.h"
#include "server/openai/fields.h"
#include "serving/text_encoder.h"
#include "serving/text_prompt.h"

namespace mlxk {

/// The parameters of embeddings; every field was checked.
struct EmbeddingParams {
  std::string model;                                                    // empty: the pinned one
  std::vector<std::variant<std::string, std::vector<int32_t>>> inputs;  // at least one
  bool is_list = true;                                                  // false: one text, and not in a list
  bool base64 = false;
  int64_t dimensions = 0;  // 0: the model's
  PromptChoice prompt;
  std::string task;  // of the weights' adapters
  Truncate truncate = Truncate::none;
  std::optional<bool> normalize;                   // absent: as the model says
  std::optional<bool> dense, sparse, multivector;  // the outputs; all absent: the model's own kind
  std::optional<int64_t> deadline_ms;
};

/// POST /v1/embeddings; POST /embed and POST /embed_sparse, the form of text-embeddings-inference.
const std::vector<Field<EmbeddingParams>>& embedding_fields();
const std::vector<Field<EmbeddingParams>>& tei_embed_fields();
const std::vector<Field<EmbeddingParams>>& tei_sparse_fields();
const Json& embedding_schema();
const Json& tei_embed_schema();
const Json& tei_sparse_schema();

/// Throw ApiError 400 naming the field.
EmbeddingParams parse_embedding(const Json& body);
EmbeddingParams parse_tei_embed(const Json& body);
EmbeddingParams parse_tei_sparse(const Json& body);

inline constexpr size_t kMaxTexts = 2048;            // of a request, as in OpenAI's API
inline constexpr size_t kMaxInstruction = 64 << 10;  // characters

/// "none", "start" and "end", as Cohere writes them too.
Json truncate_schema(const char* absent);
Truncate read_truncate(const Json& value);
/// A flag, and the side that it cuts: text-embeddings-inference's two fields.
Truncate tei_truncate(const Json& body);

/// The schema of a body that has `fields` and nothing else.
template <class Params>
Json schema_of(const std::vector<Field<Params>>& fields) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
  add_properties(fields, schema);
  return schema;
}

}  // namespace mlxk
