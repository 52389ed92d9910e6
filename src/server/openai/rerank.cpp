// POST /rerank, /v1/rerank, /v2/rerank and /reranking: Cohere's and Jina's form, and text-embeddings-inference's
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/stop.h"
#include "json/floats.h"
#include "json/json.h"
#include "server/answer/vectors.h"
#include "server/openai/answer_writers.h"
#include "server/openai/body.h"
#include "server/openai/documents.h"
#include "server/openai/embeddings.h"
#include "server/openai/endpoints.h"
#include "server/openai/score_params.h"
#include "server/preparation.h"
#include "serving/served_model.h"

namespace mlxk {

namespace {

struct Ranked {
  size_t index;
  double score;
};

/// The best first; of equal ones the earlier.
std::vector<Ranked> rank(const RerankParams& params, const std::vector<float>& scores) {
  std::vector<Ranked> ranked;
  for (size_t i = 0; i < scores.size(); ++i) ranked.push_back({i, as_written(scores[i])});
  std::stable_sort(ranked.begin(), ranked.end(), [](const Ranked& a, const Ranked& b) { return a.score > b.score; });
  if (params.top_n && *params.top_n < ranked.size()) ranked.resize(*params.top_n);
  return ranked;
}

Json bare_results(const RerankParams& params, const std::vector<Ranked>& ranked) {
  Json list = Json::array();
  for (const auto& [index, score] : ranked) {
    Json one = {{"index", index}, {"score", score}};
    if (params.with_documents) one["text"] = params.documents[index];
    list.push_back(std::move(one));
  }
  return list;
}

Json results_document(const RerankParams& params, const std::vector<Ranked>& ranked, int64_t tokens) {
  Json results = Json::array();
  for (const auto& [index, score] : ranked) {
    Json one = {{"index", index}, {"relevance_score", score}};
    if (params.with_documents) one["document"] = {{"text", params.documents[index]}};
    results.push_back(std::move(one));
  }
  return {{"id", random_id("rerank-")},
          {"object", "list"},
          {"model", params.model},
          {"results", std::move(results)},
          {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}},
          {"meta",
           {{"api_version", {{"version", "2"}}},
            {"billed_units", {{"search_units", 1}}},
            {"tokens", {{"input_tokens", tokens}, {"output_tokens", 0}}}}}};
}

void answer_rerank(ServerContext& context, const ApiCall& call, const std::shared_ptr<RerankParams>& params,
                   std::shared_ptr<const ServedEmbedding> model) {
  const TextEncoder& encoder = *model->encoder();
  VectorPlan plan;
  plan.request = new_request(call, params->deadline_ms);
  plan.request.score_tokens = encoder.score_tokens();
  const RankingQuery query =
      encoded_at("query", [&] { return encoder.ranking_query(params->query, params->instruction); });
  for (size_t i = 0; i < params->documents.size(); ++i) {
    plan.request.texts.push_back(encoded_at(fmt::format("{}[{}]", params->field(), i), [&] {
      return encoder.encode_pair(query, params->documents[i], params->truncate, params->max_tokens_per_document);
    }));
    check_stop();
  }
  check_tokens(plan.request, params->field());
  const auto activation = params->raw_scores ? ClassifierConfig::Activation::identity : encoder.classifier().activation;
  plan.write = [params, activation](const std::vector<TextNumbers>& texts, int64_t tokens) {
    std::vector<float> scores;
    for (const TextNumbers& text : texts) scores.push_back(activate(text.vector, activation).back());
    const std::vector<Ranked> ranked = rank(*params, scores);
    return json_answer(params->is_bare ? bare_results(*params, ranked) : results_document(*params, ranked, tokens));
  };
  plan.model = std::move(model);
  run_vectors(context, call, std::move(plan));
}

}  // namespace

void rerank(ServerContext& context, ApiCall call) {
  const auto params = std::make_shared<RerankParams>(parse_rerank(parse_body(call.request.body)));
  call.request.body.clear();
  name_model(context, params->model);
  with_embedding_model(context, std::move(call), params->model,
                       {.context = Context::server, .encodes = EncoderTask::rerank},
                       [&context, params](const ApiCall& call, std::shared_ptr<const ServedEmbedding> model) {
                         answer_rerank(context, call, params, std::move(model));
                       });
}

}  // namespace mlxk
