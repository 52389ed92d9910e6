#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"
#include "server/openai/fields.h"
#include "serving/text_encoder.h"

namespace mlxk {

/// The parameters of reranking; every field was checked.
struct RerankParams {
  std::string model;  // empty: the pinned one
  std::string query;
  std::vector<std::string> documents;  // at least one
  bool is_bare = false;                // text-embeddings-inference's form: `texts`, and a list as answer
  std::optional<size_t> top_n;
  bool with_documents = false;
  bool raw_scores = false;              // before the activation
  int64_t max_tokens_per_document = 0;  // 0: as many as the model accepts
  std::string instruction;
  Truncate truncate = Truncate::end;
  std::optional<int64_t> deadline_ms;

  /// The field that has the documents.
  const char* field() const { return is_bare ? "texts" : "documents"; }
};

/// The parameters of a classification.
struct ClassifyParams {
  static constexpr int kPredictions = 5;  // a masked language model's default top_k
  std::string model;
  std::vector<std::string> inputs;  // at least one
  bool is_list = true;
  bool raw_scores = false;
  int top_k = 0;  // 0: absent
  Truncate truncate = Truncate::none;
  std::optional<int64_t> deadline_ms;
};

const std::vector<Field<RerankParams>>& rerank_fields();
const std::vector<Field<ClassifyParams>>& classify_fields();
const Json& rerank_schema();
const Json& classify_schema();

/// Throw ApiError 400 naming the field.
RerankParams parse_rerank(const Json& body);
ClassifyParams parse_classify(const Json& body);

}  // namespace mlxk
