#pragma once

#include <functional>
#include <memory>
#include <string>

#include "server/context.h"

namespace mlxk {

class ServedEmbedding;
class ServedText;
struct RequestFacts;

/// Calls `then` with the model `model_name`: at once if it is loaded, else on a preparation thread after the load. An
/// exception of either becomes the answer.
void with_model(ServerContext& context, ApiCall call, const std::string& model_name, const RequestFacts& facts,
                std::function<void(const ApiCall& call, std::shared_ptr<const ServedText> model)> then);
/// The same for a model that encodes texts, as `facts` ask for.
void with_embedding_model(ServerContext& context, ApiCall call, const std::string& model_name,
                          const RequestFacts& facts,
                          std::function<void(const ApiCall& call, std::shared_ptr<const ServedEmbedding> model)> then);

/// Makes the check for the StopScope of a preparation that begins now: it throws cancelled when the client has left,
/// and deadline after `context.preparation_timeout`.
std::function<void()> preparation_check(const ServerContext& context, std::shared_ptr<const Exchange> exchange);

}  // namespace mlxk
