#include "server/openai/embedding_params.h"

#include <fmt/format.h>

#include <limits>

#include "server/openai/body.h"
#include "server/openai/schema.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;

constexpr size_t kMaxTextIds = 1'000'000;
constexpr int64_t kMaxDimensions = 1 << 20;

Json input_schema() {
  const Json id = integer(0, std::numeric_limits<int32_t>::max());
  return any_of({text(1), array(text(1), 1, kMaxTexts), array(id, 1, kMaxTextIds),
                 array(array(id, 1, kMaxTextIds), 1, kMaxTexts)});
}

void read_input(const Json& value, EmbeddingParams& params) {
  const auto add = [&](const Json& one) {
    if (one.is_string()) {
      params.inputs.emplace_back(one.get<std::string>());
    } else {
      params.inputs.emplace_back(one.get<std::vector<int32_t>>());
    }
  };
  params.is_list = value.is_array() && !value.front().is_number();
  if (!params.is_list) return add(value);
  for (const Json& one : value) add(one);
}

Field<EmbeddingParams> prompt_name_field() {
  return {"prompt_name", Use::honoured, text(1, 256), "The prompt of that name of config_sentence_transformers.json",
          [](const Json& v, EmbeddingParams& p) { p.prompt.name = v; }};
}

Field<EmbeddingParams> dimensions_field() {
  return {"dimensions", Use::honoured, integer(1, kMaxDimensions),
          "Keep the first N numbers of each vector; only for models trained for it",
          [](const Json& v, EmbeddingParams& p) { p.dimensions = v.get<int64_t>(); }};
}

Field<EmbeddingParams> deadline_field() {
  return {"deadline_ms", Use::honoured, integer(1, 86'400'000),
          "Time for the whole answer; refused early when it cannot be met",
          [](const Json& v, EmbeddingParams& p) { p.deadline_ms = v.get<int64_t>(); }};
}

std::vector<Field<EmbeddingParams>> make_embedding_fields() {
  const auto refused = [](const char* name, const char* reason, const Json& harmless = Json::array()) {
    return Field<EmbeddingParams>{name, Use::refused, unsupported(reason, harmless), reason};
  };
  return {
      {"model", Use::honoured, text(1), "An embedding model: a cached name, a workspace's name, or what --model pinned",
       [](const Json& v, EmbeddingParams& p) { p.model = v; }, true},
      {"input", Use::honoured, input_schema(), "A text, token ids as the model takes them, or several of either",
       read_input, true},
      {"encoding_format", Use::honoured, with_default(one_of({"float", "base64"}), "float"),
       "Numbers, or the bytes of little-endian float32 in base64",
       [](const Json& v, EmbeddingParams& p) { p.base64 = v == "base64"; }},
      dimensions_field(),
      {"input_type", Use::honoured, text(1, 256),
       "query or document (search_query, search_document and passage too), or the name of another prompt of the "
       "model's",
       [](const Json& v, EmbeddingParams& p) { p.prompt.input_type = v; }},
      prompt_name_field(),
      {"instruction", Use::honoured, text(1, kMaxInstruction),
       "The task of queries in words; a model that takes none gets it as the prompt",
       [](const Json& v, EmbeddingParams& p) { p.prompt.instruction = v.get<std::string>(); }},
      {"task", Use::honoured, text(1, 256), "The adapter of that name, of weights that have some (Jina v3)",
       [](const Json& v, EmbeddingParams& p) { p.task = v; }},
      {"truncate", Use::honoured, truncate_schema("none"),
       "The part of an overlong text to drop: none (the text is refused), its start or its end",
       [](const Json& v, EmbeddingParams& p) { p.truncate = read_truncate(v); }},
      {"normalize", Use::honoured, boolean(), "Vectors of length 1; absent: as the model says",
       [](const Json& v, EmbeddingParams& p) { p.normalize = v.get<bool>(); }},
      {"return_dense", Use::honoured, boolean(), "Each text's vector as `embedding`; absent: if the model has one",
       [](const Json& v, EmbeddingParams& p) { p.dense = v.get<bool>(); }},
      {"return_sparse", Use::honoured, boolean(),
       "Each text's sparse vector as `sparse_embedding` (SPLADE, BGE-M3); absent: if the model has nothing else",
       [](const Json& v, EmbeddingParams& p) { p.sparse = v.get<bool>(); }},
      {"return_multivector", Use::honoured, boolean(),
       "A vector per token as `embeddings` (ColBERT, BGE-M3); absent: if the model has nothing else",
       [](const Json& v, EmbeddingParams& p) { p.multivector = v.get<bool>(); }},
      deadline_field(),
      {"user", Use::without_effect, text(), "An end user of the client's"},
      refused("late_chunking", "each text gets its own vectors", false),
  };
}

/// The fields of both POST /embed and POST /embed_sparse.
std::vector<Field<EmbeddingParams>> make_tei_fields() {
  return {
      {"inputs", Use::honoured, input_schema(), "A text, token ids as the model takes them, or several of either",
       read_input, true},
      {"model", Use::honoured, text(1), "An embedding model; absent: the one that --model pinned",
       [](const Json& v, EmbeddingParams& p) { p.model = v; }},
      {"truncate", Use::honoured, with_default(boolean(), false), "Cuts what is too long; false: it is refused"},
      {"truncation_direction", Use::honoured, with_default(one_of({"Right", "Left", "right", "left"}), "Right"),
       "Where it is cut: at its end (Right) or its start (Left)"},
      prompt_name_field(),
      deadline_field(),
  };
}

std::vector<Field<EmbeddingParams>> make_tei_embed_fields() {
  std::vector<Field<EmbeddingParams>> fields = make_tei_fields();
  fields.push_back({"normalize", Use::honoured, with_default(boolean(), true), "Vectors of length 1",
                    [](const Json& v, EmbeddingParams& p) { p.normalize = v.get<bool>(); }});
  fields.push_back(dimensions_field());
  return fields;
}

/// Too many texts would be reported as a first one that is not a token id.
void check_count(const Json& body, const char* field) {
  const Json* texts = given(body, field);
  if (!texts || !texts->is_array() || texts->size() <= kMaxTexts || texts->front().is_number()) return;
  refuse_field(field, fmt::format("{} has {} texts, at most {} fit into a request", field, texts->size(), kMaxTexts));
}

}  // namespace

Json truncate_schema(const char* absent) {
  return with_default(one_of({"none", "start", "end", "NONE", "START", "END"}), absent);
}

Truncate read_truncate(const Json& value) {
  if (value == "start" || value == "START") return Truncate::start;
  return value == "end" || value == "END" ? Truncate::end : Truncate::none;
}

Truncate tei_truncate(const Json& body) {
  const Json* cut = given(body, "truncate");
  if (!cut || !cut->get<bool>()) return Truncate::none;
  const Json* side = given(body, "truncation_direction");
  return side && (*side == "Left" || *side == "left") ? Truncate::start : Truncate::end;
}

const std::vector<Field<EmbeddingParams>>& embedding_fields() {
  static const auto fields = make_embedding_fields();
  return fields;
}

const std::vector<Field<EmbeddingParams>>& tei_embed_fields() {
  static const auto fields = make_tei_embed_fields();
  return fields;
}

const std::vector<Field<EmbeddingParams>>& tei_sparse_fields() {
  static const auto fields = make_tei_fields();
  return fields;
}

const Json& embedding_schema() {
  static const Json schema = schema_of(embedding_fields());
  return schema;
}

const Json& tei_embed_schema() {
  static const Json schema = schema_of(tei_embed_fields());
  return schema;
}

const Json& tei_sparse_schema() {
  static const Json schema = schema_of(tei_sparse_fields());
  return schema;
}

EmbeddingParams parse_embedding(const Json& body) {
  check_count(body, "input");
  check_body(embedding_schema(), body);
  EmbeddingParams params;
  read_fields(embedding_fields(), body, params);
  if (!params.prompt.name.empty() && params.prompt.instruction) {
    refuse_field("instruction", "prompt_name and instruction are both given");
  }
  return params;
}

EmbeddingParams parse_tei_embed(const Json& body) {
  check_count(body, "inputs");
  check_body(tei_embed_schema(), body);
  EmbeddingParams params;
  read_fields(tei_embed_fields(), body, params);
  params.truncate = tei_truncate(body);
  params.dense = true;
  return params;
}

EmbeddingParams parse_tei_sparse(const Json& body) {
  check_count(body, "inputs");
  check_body(tei_sparse_schema(), body);
  EmbeddingParams params;
  read_fields(tei_sparse_fields(), body, params);
  params.truncate = tei_truncate(body);
  params.sparse = true;
  params.dense = false;
  return params;
}

}  // namespace mlxk
