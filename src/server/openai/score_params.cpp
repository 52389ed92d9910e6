#include "server/openai/score_params.h"

#include <fmt/format.h>

#include <limits>

#include "server/openai/embedding_params.h"
#include "server/openai/schema.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;

/// A text, or an object that has one.
Json document_schema() { return any_of({text(1), object({{"text", text(1)}}, {"text"})}); }

std::vector<Field<RerankParams>> make_rerank_fields() {
  using P = RerankParams;
  return {
      {"model", Use::honoured, text(1), "A reranker; absent: the one that --model pinned",
       [](const Json& v, P& p) { p.model = v; }},
      {"query", Use::honoured, text(1), "The query to rank the documents by", [](const Json& v, P& p) { p.query = v; },
       true},
      {"documents", Use::honoured, array(document_schema(), 1, kMaxTexts),
       "Texts, or objects with a text: the form of Cohere and Jina",
       [](const Json& v, P& p) {
         for (const Json& one : v) p.documents.push_back(one.is_string() ? one : one["text"]);
       }},
      {"texts", Use::honoured, array(text(1), 1, kMaxTexts),
       "The same in the form of text-embeddings-inference, whose answer is a list",
       [](const Json& v, P& p) {
         p.documents = v.get<std::vector<std::string>>();
         p.is_bare = true;
       }},
      {"top_n", Use::honoured, integer(1, std::numeric_limits<int32_t>::max()), "The number of best results to return",
       [](const Json& v, P& p) { p.top_n = v.get<size_t>(); }},
      {"return_documents", Use::honoured, with_default(boolean(), false), "Each result has its document",
       [](const Json& v, P& p) { p.with_documents = v; }},
      {"return_text", Use::honoured, boolean(), "The same, of texts",
       [](const Json& v, P& p) { p.with_documents = v; }},
      {"raw_scores", Use::honoured, with_default(boolean(), false), "Raw scores of the model, without activation",
       [](const Json& v, P& p) { p.raw_scores = v; }},
      {"max_tokens_per_doc", Use::honoured, integer(1, 1'000'000), "Longer documents are cut to N tokens",
       [](const Json& v, P& p) { p.max_tokens_per_document = v.get<int64_t>(); }},
      {"instruction", Use::honoured, text(1, kMaxInstruction), "The task in words, of rerankers that take one (Qwen3)",
       [](const Json& v, RerankParams& p) { p.instruction = v; }},
      {"truncate", Use::honoured, any_of({boolean(), one_of({"none", "start", "end", "NONE", "START", "END"})}),
       "The part of an overlong text to drop: none (the text is refused), start, end; true: end, false: none. Absent: "
       "end, of texts none"},
      {"truncation_direction", Use::honoured, with_default(one_of({"Right", "Left", "right", "left"}), "Right"),
       "Of truncate true: at its end (Right) or its start (Left)"},
      {"deadline_ms", Use::honoured, integer(1, 86'400'000),
       "Time for the whole answer; refused early when it cannot be met",
       [](const Json& v, P& p) { p.deadline_ms = v.get<int64_t>(); }},
      {"user", Use::without_effect, text(), "An end user of the client's"},
      {"max_chunks_per_doc", Use::without_effect, integer(1, 1'000'000),
       "A document is one text, cut where it is too long"},
      {"rank_fields", Use::refused,
       unsupported("a document's text is what counts", Json::array({Json::array({"text"})})),
       "a document's text is what counts"},
  };
}

std::vector<Field<ClassifyParams>> make_classify_fields() {
  using P = ClassifyParams;
  return {
      {"model", Use::honoured, text(1), "A classifier; absent: the one that --model pinned",
       [](const Json& v, P& p) { p.model = v; }},
      {"input", Use::honoured, any_of({text(1), array(text(1), 1, kMaxTexts)}),
       "A text, or several; for a masked language model each has one mask token, and the labels are its likeliest "
       "tokens",
       [](const Json& v, P& p) {
         p.is_list = v.is_array();
         p.inputs = p.is_list ? v.get<std::vector<std::string>>() : std::vector{v.get<std::string>()};
       },
       true},
      {"raw_scores", Use::honoured, with_default(boolean(), false), "Raw scores of the model, without activation",
       [](const Json& v, P& p) { p.raw_scores = v; }},
      {"top_k", Use::honoured, integer(1, 1000),
       "The number of labels to return, best first; for a masked language model 5 by default",
       [](const Json& v, P& p) { p.top_k = v.get<int>(); }},
      {"truncate", Use::honoured, truncate_schema("none"),
       "The part of an overlong text to drop: none (the text is refused), its start or its end",
       [](const Json& v, P& p) { p.truncate = read_truncate(v); }},
      {"deadline_ms", Use::honoured, integer(1, 86'400'000),
       "Time for the whole answer; refused early when it cannot be met",
       [](const Json& v, P& p) { p.deadline_ms = v.get<int64_t>(); }},
      {"user", Use::without_effect, text(), "An end user of the client's"},
  };
}

}  // namespace

const std::vector<Field<RerankParams>>& rerank_fields() {
  static const auto fields = make_rerank_fields();
  return fields;
}

const std::vector<Field<ClassifyParams>>& classify_fields() {
  static const auto fields = make_classify_fields();
  return fields;
}

const Json& rerank_schema() {
  static const Json schema = schema_of(rerank_fields());
  return schema;
}

const Json& classify_schema() {
  static const Json schema = schema_of(classify_fields());
  return schema;
}

RerankParams parse_rerank(const Json& body) {
  check_body(rerank_schema(), body);
  RerankParams params;
  const bool documents = given(body, "documents") != nullptr, texts = given(body, "texts") != nullptr;
  if (documents == texts) {
    refuse_field(documents ? "texts" : "documents",
                 documents ? "documents and texts are both given" : "documents (or texts) is required",
                 documents ? "invalid_value" : "missing_required_parameter");
  }
  read_fields(rerank_fields(), body, params);
  const Json* truncate = given(body, "truncate");
  if (truncate && truncate->is_string()) {
    params.truncate = read_truncate(*truncate);
  } else if (truncate || texts) {
    params.truncate = tei_truncate(body);
  }
  return params;
}

ClassifyParams parse_classify(const Json& body) {
  check_body(classify_schema(), body);
  ClassifyParams params;
  read_fields(classify_fields(), body, params);
  return params;
}

}  // namespace mlxk
