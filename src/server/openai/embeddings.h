#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "server/api_error.h"
#include "server/context.h"
#include "serving/text_encoder.h"
#include "worker/embedding.h"

namespace mlxk {

// Shared by the endpoints of embeddings, reranking and classification.

/// Replaces an absent model by the one that --model pinned; throws ApiError 400 if there is none.
void name_model(const ServerContext& context, std::string& model);

/// A request of `call` without texts.
EmbedRequest new_request(const ApiCall& call, std::optional<int64_t> deadline_ms);

/// Refuses more tokens than a request may have; throws ApiError 400 naming `field`.
void check_tokens(const EmbedRequest& request, const char* field);

/// Calls `encode()`; an invalid error becomes a refusal of the text at `place`: "input[2] has 300 tokens; …".
template <class Encode>
auto encoded_at(const std::string& place, Encode encode) {
  try {
    return encode();
  } catch (const ApiError&) {
    throw;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::invalid) throw;
    const bool long_text = dynamic_cast<const TextTooLongForModel*>(&error) != nullptr;
    throw ApiError(ErrorKind::invalid, place + " " + error.what(), place,
                   long_text ? "context_length_exceeded" : "invalid_value", 400);
  }
}

}  // namespace mlxk
