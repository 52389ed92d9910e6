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

/// The engine's output for one request, token by token.
struct TokenRun {
  std::vector<TokenEvent> tokens;
  std::vector<TokenEvent> prompt;  // scored, if the request asked for it
  DoneEvent done{};
};

/// Submits `requests` at once and waits for all of them; calls `stop_wanted` about twenty times a second and throws
/// cancelled if it returns true. Throws the engine's Error.
std::vector<TokenRun> run_tokens(Worker& worker, const std::shared_ptr<const ModelHandle>& model,
                                 std::vector<GenerateRequest> requests, const std::function<bool()>& stop_wanted);

/// The place at which two runs of one request diverge.
struct TokenDifference {
  size_t index = 0;                         // of the first token that differs
  std::optional<TokenEvent> first, second;  // absent: the run ended before this index
};

/// The first token in which `first` and `second` differ; nullopt: they are the same.
std::optional<TokenDifference> first_difference(std::span<const TokenEvent> first, std::span<const TokenEvent> second);

/// The largest difference between the log-probabilities of common tokens, up to the first token that differs; NaN if
/// one of them is NaN.
float largest_logprob_gap(std::span<const TokenEvent> first, std::span<const TokenEvent> second);

}  // namespace mlxk
