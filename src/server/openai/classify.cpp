// POST /v1/classify: the labels of texts
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

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

Json entry_of(size_t index, const std::vector<float>& scores, const std::vector<std::string>& labels) {
  const auto best = static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  Json list = Json::array(), probabilities = Json::array();
  for (size_t i = 0; i < scores.size(); ++i) {
    probabilities.push_back(as_written(scores[i]));
    list.push_back({{"label", labels[i]}, {"score", probabilities.back()}});
  }
  return {{"index", index},
          {"label", labels[best]},
          {"probs", std::move(probabilities)},
          {"num_classes", scores.size()},
          {"scores", std::move(list)}};
}

void answer_classify(ServerContext& context, const ApiCall& call, const std::shared_ptr<ClassifyParams>& params,
                     std::shared_ptr<const ServedEmbedding> model) {
  const TextEncoder& encoder = *model->encoder();
  VectorPlan plan;
  plan.request = new_request(call, params->deadline_ms);
  for (size_t i = 0; i < params->inputs.size(); ++i) {
    const std::string place = params->is_list ? fmt::format("input[{}]", i) : std::string("input");
    plan.request.texts.push_back(
        encoded_at(place, [&] { return encoder.encode(params->inputs[i], "", params->truncate); }));
    check_stop();
  }
  check_tokens(plan.request, "input");
  plan.write = [params, model](const std::vector<std::vector<float>>& numbers, int64_t tokens) {
    const ClassifierConfig& classifier = model->encoder()->classifier();
    const auto activation = params->raw_scores ? ClassifierConfig::Activation::identity : classifier.activation;
    Json data = Json::array();
    for (size_t i = 0; i < numbers.size(); ++i) {
      data.push_back(entry_of(i, activate(numbers[i], activation), classifier.labels));
    }
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return json_answer({{"id", random_id("classify-")},
                        {"object", "list"},
                        {"created", std::chrono::duration_cast<std::chrono::seconds>(now).count()},
                        {"model", params->model},
                        {"data", std::move(data)},
                        {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
  };
  plan.model = std::move(model);
  run_vectors(context, call, std::move(plan));
}

}  // namespace

void classify_texts(ServerContext& context, ApiCall call) {
  const auto params = std::make_shared<ClassifyParams>(parse_classify(parse_body(call.request.body)));
  call.request.body.clear();
  name_model(context, params->model);
  with_embedding_model(context, std::move(call), params->model,
                       {.context = Context::server, .encodes = EncoderTask::classify},
                       [&context, params](const ApiCall& call, std::shared_ptr<const ServedEmbedding> model) {
                         answer_classify(context, call, params, std::move(model));
                       });
}

}  // namespace mlxk
