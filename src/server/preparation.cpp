#include "server/preparation.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "base/stop.h"
#include "server/api_error.h"

namespace mlxk {

void with_model(ServerContext& context, ApiCall call, const std::string& model_name, const RequestFacts& facts,
                std::function<void(const ApiCall& call, std::shared_ptr<const ServedText> model)> then) {
  if (auto model = as_text(context.models.acquire_loaded(model_name, facts))) return then(call, std::move(model));
  const auto shared = std::make_shared<const ApiCall>(std::move(call));
  const auto load = [&context, shared, facts, name = model_name, then = std::move(then)] {
    answer_errors(
        *shared->exchange,
        [&] {
          if (shared->exchange->closed()) return;
          auto model = as_text(context.models.acquire(name, facts));
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

std::function<void()> preparation_check(const ServerContext& context, std::shared_ptr<const Exchange> exchange) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::duration_cast<std::chrono::steady_clock::duration>(context.preparation_timeout);
  return [exchange = std::move(exchange), end, seconds = context.preparation_timeout.count()] {
    if (exchange->closed()) throw Error(ErrorKind::cancelled, "the client has gone");
    if (std::chrono::steady_clock::now() < end) return;
    throw ApiError(ErrorKind::deadline, fmt::format("the request could not be prepared within {:.0f} s", seconds), "",
                   "preparation_timeout");
  };
}

}  // namespace mlxk
