#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "server/api_error.h"
#include "server/image_source.h"
#include "server/task_pool.h"
#include "serving/tool_support.h"
#include "transport/exchange.h"

namespace mlxk {

class Metrics;
class ModelPool;
class RequestRecorder;
class Worker;

/// The parts of a server that its endpoints use; lives as long as the server. Any thread.
struct ServerContext {
  Worker& worker;
  ModelPool& models;
  Metrics& metrics;
  TaskPool& preparation;  // threads that parse, render and tokenise
  TaskPool& waiting;      // threads that may wait for a long time (for loads)
  TaskPool& brief;        // threads for short tasks: documents about models, releasing a model
  TaskPool& forwarding;   // threads that wait for another server's answer
  /// Runs `task` on one of the threads that transcribe, so that recordings delay no other request; throws ApiError 429
  /// if too many tasks wait for those threads.
  std::function<void(std::function<void()>)> post_transcription;
  /// Likewise, for a turn of a live transcription: never refused.
  std::function<void(std::function<void()>)> post_live;
  Ticker& ticker;  // for comments on streams that wait
  const std::atomic<bool>& draining;
  int64_t default_max_tokens = 0;                         // --max-tokens; 0: by the model's context
  bool inline_reasoning = false;                          // MLXK2_INLINE_REASONING=1
  bool generic_tools = true;                              // false: --no-generic-tools
  ImageSources images;                                    // --allow-image-urls, --media-root
  bool allow_truncate = false;                            // --allow-truncate: vectors of any model may be shortened
  std::string embed_backend;                              // --embed-backend: the backend of /v1/embeddings; empty: none
  uint64_t audio_limit = uint64_t{50} << 20;              // bytes of a recording
  std::chrono::duration<double> stuck_after{60};          // /health reports a loop without an iteration for this long
  std::chrono::duration<double> preparation_timeout{50};  // of one request; it ends as a 504
  RequestRecorder* recorder = nullptr;                    // --record; null: answers are not recorded
  std::atomic<int> realtime_sessions{0};                  // open live transcriptions

  /// The tool support of a model on this server.
  ToolSupport tool_support(ToolSupport model) const {
    return model == ToolSupport::generic && !generic_tools ? ToolSupport::none : model;
  }
};

/// A request on its way through an endpoint.
struct ApiCall {
  HttpRequest request;
  std::shared_ptr<Exchange> exchange;
  std::string key_id;                     // of the API key; empty without keys. The scope of cached prefixes
  std::string name;                       // the value of {id} in the route's pattern
  TaskTurn turn;                          // of the preparation
  ErrorStyle error_style = openai_error;  // of the route
  std::chrono::steady_clock::time_point arrived = std::chrono::steady_clock::now();
};

}  // namespace mlxk
