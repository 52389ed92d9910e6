#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "server/context.h"
#include "server/guard.h"
#include "server/metrics.h"
#include "server/routes.h"
#include "server/spool.h"
#include "server/task_pool.h"

namespace mlxk {

struct ServerOptions {
  int64_t default_max_tokens = 0;       // --max-tokens; 0: by the model's context
  bool inline_reasoning = false;        // MLXK2_INLINE_REASONING=1
  bool generic_tools = true;            // false: --no-generic-tools
  ImageSources images;                  // --allow-image-urls, --media-root
  bool allow_truncate = false;          // --allow-truncate
  std::string embed_backend;            // --embed-backend: a server that /v1/embeddings goes to; empty: none
  RequestRecorder* recorder = nullptr;  // --record: takes every answer of a text model, and outlives the server
  /// A step takes milliseconds; a part of a prompt, with a large model on a slow machine, a few seconds.
  std::chrono::duration<double> stuck_after{60};
  /// The time to render, tokenise and compile one request; a request that takes longer is answered 504.
  std::chrono::duration<double> preparation_timeout{50};
  int preparation_threads = 4;
  size_t max_preparing = 1024;    // waiting for a preparation thread or a load; more requests are answered 429
  int transcription_threads = 4;  // recordings transcribed at once
  size_t max_recordings = 32;     // waiting for that; more are answered 429
  uint64_t audio_limit = uint64_t{50} << 20;    // bytes of a recording
  uint64_t upload_room = uint64_t{2} << 30;     // bytes of all uploads together; more are answered 503
  std::chrono::milliseconds keep_alive{5'000};  // between comments on an idle stream
  /// Called after each complete answer, for access logs. On the I/O thread.
  std::function<void(const HttpRequest& head, int status, size_t bytes, double seconds)> on_answered;
};

/// Everything between the transport and the worker: the guard, the routes, the error envelope.
class Server : public RequestHandler {
 public:
  /// The arguments must outlive the server; the HttpServer that calls it must end before it.
  Server(Worker& worker, ModelPool& models, const Guard& guard, ServerOptions options);
  ~Server() override;

  /// From now on every request but /health and /metrics is answered 503, /ready too. Any thread.
  void drain() { draining_ = true; }

  BodyPlan plan(const HttpRequest& head) override;
  void handle(HttpRequest request, std::shared_ptr<Exchange> exchange) override;
  HttpResponse refusal(int status, std::string_view message, const std::string& request_id) override;
  void answered(const HttpRequest& head, int status, size_t bytes, double seconds) override;

 private:
  std::optional<HttpResponse> refuse(const HttpRequest& head, const RouteMatch& match) const;
  void post_transcription(std::function<void()> task);

  const Guard& guard_;
  ServerOptions options_;
  std::atomic<bool> draining_{false};
  Metrics metrics_;
  ServerContext context_;
  Ticker ticker_;
  std::shared_ptr<SpoolRoom> upload_room_;
  TaskPool transcription_, forwarding_, waiting_, preparation_, brief_;
};

}  // namespace mlxk
