#include "server/preparation.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/stop.h"
#include "server/api_error.h"
#include "serving/model_pool.h"
#include "serving/served_model.h"

namespace mlxk {

namespace {

using Then = std::function<void(const ApiCall& call, std::shared_ptr<const ServedModel> model)>;

void with_served_model(ServerContext& context, ApiCall call, const std::string& model_name, const RequestFacts& facts,
                       Then then) {
  if (auto model = context.models.acquire_loaded(model_name, facts)) return then(call, std::move(model));
  const auto shared = std::make_shared<const ApiCall>(std::move(call));
  const auto load = [&context, shared, facts, name = model_name, then = std::move(then)] {
    answer_errors(
        *shared->exchange,
        [&] {
          if (shared->exchange->closed()) return;
          auto model = context.models.acquire(name, facts);
          context.preparation.run(
              [&context, shared, model = std::move(model), then] {
                answer_errors(
                    *shared->exchange,
                    [&] {
                      const StopScope scope(preparation_check(context, shared->exchange));
                      check_stop();
                      then(*shared, model);
                    },
                    shared->error_style);
              },
              shared->turn);
        },
        shared->error_style);
  };
  context.waiting.run(load, shared->turn);
}

}  // namespace

void with_model(ServerContext& context, ApiCall call, const std::string& model_name, const RequestFacts& facts,
                std::function<void(const ApiCall& call, std::shared_ptr<const ServedText> model)> then) {
  with_served_model(context, std::move(call), model_name, facts,
                    [then = std::move(then)](const ApiCall& call, const std::shared_ptr<const ServedModel>& model) {
                      then(call, as_text(model));
                    });
}

void with_embedding_model(ServerContext& context, ApiCall call, const std::string& model_name,
                          const RequestFacts& facts,
                          std::function<void(const ApiCall& call, std::shared_ptr<const ServedEmbedding> model)> then) {
  with_served_model(context, std::move(call), model_name, facts,
                    [then = std::move(then)](const ApiCall& call, const std::shared_ptr<const ServedModel>& model) {
                      then(call, as_embedding(model));
                    });
}

std::function<void()> preparation_check(const ServerContext& context, std::shared_ptr<const Exchange> exchange) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::duration_cast<std::chrono::steady_clock::duration>(context.preparation_timeout);
  return [exchange = std::move(exchange), end, seconds = context.preparation_timeout.count()] {
    if (exchange->closed()) throw Error(ErrorKind::cancelled, "the client has left");
    if (std::chrono::steady_clock::now() < end) return;
    throw ApiError(ErrorKind::deadline, fmt::format("the request could not be prepared within {:.0f} s", seconds), "",
                   "preparation_timeout");
  };
}

}  // namespace mlxk
