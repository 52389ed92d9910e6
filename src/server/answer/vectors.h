#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "server/context.h"
#include "serving/served_model.h"
#include "worker/embedding.h"

namespace mlxk {

/// Texts that are ready to be computed, and how their numbers become an answer.
struct VectorPlan {
  std::shared_ptr<const ServedEmbedding> model;
  EmbedRequest request;
  /// Makes the answer from the model's output for each text; `tokens` of all of them. On a preparation thread; an
  /// exception becomes the answer.
  std::function<HttpResponse(std::vector<TextNumbers> numbers, int64_t tokens)> write;
};

/// Submits the texts and answers `call.exchange` once all are there; cancels when the client goes. Any thread.
void run_vectors(ServerContext& context, const ApiCall& call, VectorPlan plan);

}  // namespace mlxk
