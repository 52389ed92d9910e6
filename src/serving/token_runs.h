#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "worker/event.h"
#include "worker/request.h"

namespace mlxk {

class ModelHandle;
class Worker;

/// What the engine gave for one request, token by token.
struct TokenRun {
  std::vector<TokenEvent> tokens;
  std::vector<TokenEvent> prompt;  // scored, where the request asked for it
  DoneEvent done{};
};

/// Submits `requests` at once and waits for all of them; asks `stop_wanted` some twenty times a second and then throws
/// cancelled. Throws the engine's Error.
std::vector<TokenRun> run_tokens(Worker& worker, const std::shared_ptr<const ModelHandle>& model,
                                 std::vector<GenerateRequest> requests, const std::function<bool()>& stop_wanted);

/// Where two runs of one request part.
struct TokenDifference {
  size_t index = 0;                         // of the first token that is not the same
  std::optional<TokenEvent> first, second;  // absent: the run ended before it
};

/// The first token that `first` and `second` do not share; nullopt: they are the same.
std::optional<TokenDifference> first_difference(std::span<const TokenEvent> first, std::span<const TokenEvent> second);

/// The largest distance between the log-probabilities of tokens that both have, up to the first that is not the same;
/// NaN where one of them is.
float largest_logprob_gap(std::span<const TokenEvent> first, std::span<const TokenEvent> second);

}  // namespace mlxk
