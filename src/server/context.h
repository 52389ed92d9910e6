#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/api_error.h"
#include "server/task_pool.h"
#include "serving/model_pool.h"
#include "transport/exchange.h"
#include "worker/worker.h"

namespace mlxk {

class Metrics;

/// What an endpoint works with; lives as long as the server. Any thread.
struct ServerContext {
  Worker& worker;
  ModelPool& models;
  Metrics& metrics;
  TaskPool& preparation;  // threads that parse, render and tokenise
  TaskPool& waiting;      // threads that may wait for long (for loads), so that others need not wait for them
  TaskPool& brief;        // threads for what is short: documents about models, letting go of one
  /// Runs `task` on one of the threads that transcribe, so that recordings hold up nobody else; throws ApiError 429
  /// when too many wait for one already.
  std::function<void(std::function<void()>)> hear;
  Ticker& ticker;  // for comments on streams that wait
  const std::atomic<bool>& draining;
  int64_t default_max_tokens = 0;                         // --max-tokens; 0: by the model's context
  bool inline_reasoning = false;                          // MLXK2_INLINE_REASONING=1
  bool generic_tools = true;                              // false: --no-generic-tools
  uint64_t audio_limit = uint64_t{50} << 20;              // bytes of a recording
  std::chrono::duration<double> stuck_after{60};          // a generation loop that has not turned for so long is dead
  std::chrono::duration<double> preparation_timeout{50};  // of one request; it ends as a 504

  /// What this server makes of a model's support.
  ToolSupport tool_support(ToolSupport model) const {
    return model == ToolSupport::generic && !generic_tools ? ToolSupport::none : model;
  }
};

/// A request on its way through an endpoint.
struct ApiCall {
  HttpRequest request;
  std::shared_ptr<Exchange> exchange;
  std::string key_id;                     // of the API key; empty without keys. The scope of cached prefixes
  std::string name;                       // what stands for {id} in the route's pattern
  TaskTurn turn;                          // among those that are prepared
  ErrorStyle error_style = openai_error;  // of the route
  std::chrono::steady_clock::time_point arrived = std::chrono::steady_clock::now();
};

}  // namespace mlxk
