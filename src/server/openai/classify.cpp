// POST /v1/classify: the labels of texts, or the likeliest tokens for their masks
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
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

/// All labels in their order with `top_k` 0, else the best `top_k`, best first.
Json entry_of(size_t index, const std::vector<float>& scores, const std::vector<std::string>& labels, int top_k) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto best = static_cast<size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  if (top_k > 0) {
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    order.resize(std::min(order.size(), static_cast<size_t>(top_k)));
  }
  Json list = Json::array(), probabilities = Json::array();
  for (const float score : scores) probabilities.push_back(as_written(score));
  for (const size_t i : order) list.push_back({{"label", labels[i]}, {"score", probabilities[i]}});
  return {{"index", index},
          {"label", labels[best]},
          {"probs", std::move(probabilities)},
          {"num_classes", scores.size()},
          {"scores", std::move(list)}};
}

/// The same for the tokens predicted for the mask of `text`, with `token` and `sequence` as in transformers' fill-mask
/// pipeline.
Json prediction_entry(size_t index, const TokenWeights& predicted, const EncodedText& text,
                      const Tokenizer& tokenizer) {
  Json list = Json::array(), probabilities = Json::array();
  for (size_t i = 0; i < predicted.ids.size(); ++i) {
    std::vector<int32_t> ids = text.ids;
    ids[static_cast<size_t>(text.masked)] = predicted.ids[i];
    probabilities.push_back(as_written(predicted.weights[i]));
    list.push_back({{"label", tokenizer.decode(std::vector{predicted.ids[i]}, false)},
                    {"score", probabilities.back()},
                    {"token", predicted.ids[i]},
                    {"sequence", tokenizer.decode(ids, true)}});
  }
  return {{"index", index},
          {"label", list.front()["label"]},
          {"probs", std::move(probabilities)},
          {"num_classes", list.size()},
          {"scores", std::move(list)}};
}

HttpResponse classification(const ClassifyParams& params, Json data, int64_t tokens) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return json_answer({{"id", random_id("classify-")},
                      {"object", "list"},
                      {"created", std::chrono::duration_cast<std::chrono::seconds>(now).count()},
                      {"model", params.model},
                      {"data", std::move(data)},
                      {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
}

void answer_classify(ServerContext& context, const ApiCall& call, const std::shared_ptr<ClassifyParams>& params,
                     std::shared_ptr<const ServedEmbedding> model) {
  const TextEncoder& encoder = *model->encoder();
  const bool masked = model->info().encoder_task == EncoderTask::embed;  // Policy admits no other embedders
  VectorPlan plan;
  plan.request = new_request(call, params->deadline_ms);
  if (masked) {
    if (params->raw_scores) refuse_field("raw_scores", "raw_scores: predicted tokens have probabilities only");
    plan.request.outputs = {.vector = false,
                            .predictions = params->top_k > 0 ? params->top_k : ClassifyParams::kPredictions};
  }
  for (size_t i = 0; i < params->inputs.size(); ++i) {
    const std::string place = params->is_list ? fmt::format("input[{}]", i) : std::string("input");
    plan.request.texts.push_back(encoded_at(place, [&] {
      return masked ? encoder.encode_masked(params->inputs[i], params->truncate)
                    : encoder.encode(params->inputs[i], {}, params->truncate);
    }));
    check_stop();
  }
  check_tokens(plan.request, "input");
  if (masked) {
    plan.write = [params, model, texts = plan.request.texts](const std::vector<TextNumbers>& numbers, int64_t tokens) {
      Json data = Json::array();
      for (size_t i = 0; i < numbers.size(); ++i) {
        data.push_back(prediction_entry(i, numbers[i].predictions, texts[i], *model->encoder()->tokenizer()));
      }
      return classification(*params, std::move(data), tokens);
    };
  } else {
    plan.write = [params, model](const std::vector<TextNumbers>& numbers, int64_t tokens) {
      const ClassifierConfig& classifier = model->encoder()->classifier();
      const auto activation = params->raw_scores ? ClassifierConfig::Activation::identity : classifier.activation;
      Json data = Json::array();
      for (size_t i = 0; i < numbers.size(); ++i) {
        data.push_back(entry_of(i, activate(numbers[i].vector, activation), classifier.labels, params->top_k));
      }
      return classification(*params, std::move(data), tokens);
    };
  }
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
