#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/context.h"

namespace mlxk {

/// Calls `then` with the model `model_name`: at once where it is loaded, else on a preparation thread once it
/// is. What either throws is the answer.
void with_model(ServerContext& context, ApiCall call, const std::string& model_name, const RequestFacts& facts,
                std::function<void(const ApiCall& call, std::shared_ptr<const ServedText> model)> then);

/// For the StopScope of a preparation that begins now: throws cancelled when the client has gone, for nobody waits for
/// the rest, and deadline once it has taken `context.preparation_timeout`.
std::function<void()> preparation_check(const ServerContext& context, std::shared_ptr<const Exchange> exchange);

}  // namespace mlxk
