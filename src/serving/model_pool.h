#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "serving/served_model.h"
#include "worker/worker.h"

namespace mlxk {

struct PoolOptions {
  std::string pinned;                              // --model: never unloaded; may be a path
  std::chrono::milliseconds idle_timeout{0};       // 0: models stay until room is needed
  size_t max_models = 0;                           // 0: as many as fit
  std::chrono::milliseconds release_wait{10'000};  // for memory to come back after an unloading
  std::chrono::milliseconds room_wait{60'000};     // of a request for a model whose room others use
  std::chrono::milliseconds turn{5'000};  // how long a model still takes requests while another waits for its room
  LoadOptions text;
  std::string draft;  // of the pinned model; may be a path; empty: none
  std::function<Machine()> machine = this_machine;
};

/// The models of a server, for text and for speech: loaded on demand, least recently used first out. Any thread but the
/// worker's; acquire may wait for long. The worker must outlive the pool.
class ModelPool {
 public:
  /// Resolves the pinned model and its draft; throws not_found, ambiguous, what Policy blocks, and what find_draft
  /// throws. Loads nothing.
  ModelPool(Worker& worker, PoolOptions options);
  /// Stops a load under way; models whose requests run stay until these end.
  ~ModelPool();
  ModelPool(const ModelPool&) = delete;
  ModelPool& operator=(const ModelPool&) = delete;

  /// The model that `spec` means, loaded, for as long as the caller holds it: by a cached name, a workspace's name
  /// under MLXK_WORKSPACE_HOME or exactly what was pinned; any other path is not_found without a look at the file
  /// system. Resolve and Policy come before anything is unloaded; without a `request` for what the model is for. Throws
  /// not_found, ambiguous, what Policy blocks, memory, and RetryLater where others use the room for too long.
  std::shared_ptr<const ServedModel> acquire(const std::string& spec, const std::optional<RequestFacts>& request);
  /// As acquire where the model is loaded already; else null at once, when nothing forbids to wait for it.
  std::shared_ptr<const ServedModel> acquire_loaded(const std::string& spec,
                                                    const std::optional<RequestFacts>& request);
  /// As acquire, without loading and without Policy: throws not_found, ambiguous.
  ModelInfo describe(const std::string& spec) const;
  /// Stops handing it out and frees it once its requests have ended; throws not_found (also where it is not loaded),
  /// denied for the pinned one.
  void unload(const std::string& spec);

  struct Entry {
    ModelInfo info;
    std::string id;  // as /v1/models says it
    bool loaded = false, pinned = false;
  };
  /// From now on nothing is loaded: what waits is refused, a load under way stops.
  void stop();

  /// Every model that can be asked for and runs here: the pinned first, the rest by id.
  std::vector<Entry> list() const;

  struct Loaded {
    std::string id;       // as /v1/models says it
    uint64_t handle = 0;  // as the worker's status says it
    uint64_t weight_bytes = 0;
  };
  /// What is loaded now; reads no files.
  std::vector<Loaded> loaded() const;
  /// Whether the pinned model is loaded; true where none is pinned.
  bool ready() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // shared with the models that are handed out
};

}  // namespace mlxk
