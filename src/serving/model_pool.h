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
#include "worker/load_options.h"

namespace mlxk {

class Worker;

struct PoolOptions {
  std::string pinned;                              // --model: never unloaded; may be a path
  bool any_name = false;                           // every name means the pinned model
  std::chrono::milliseconds idle_timeout{0};       // 0: models stay until room is needed
  size_t max_models = 0;                           // 0: as many as fit
  std::chrono::milliseconds release_wait{10'000};  // for memory to be free after an unload
  std::chrono::milliseconds room_wait{60'000};     // of a request whose model needs room that others use
  std::chrono::milliseconds turn{5'000};           // a busy model takes requests for this long while another waits
  LoadOptions text;
  std::string draft;  // of the pinned model; may be a path; empty: none
  std::function<Machine()> machine = this_machine;
};

/// The text, speech and embedding models of a server, loaded on demand; the least recently used one is unloaded first.
/// Any thread but the worker's; acquire may wait for a long time. The worker must outlive the pool.
class ModelPool {
 public:
  /// Resolves the pinned model and its draft; throws not_found, ambiguous, what Policy blocks, and what find_draft
  /// throws. Loads nothing.
  ModelPool(Worker& worker, PoolOptions options);
  /// Stops a load in progress; models with running requests stay until those end.
  ~ModelPool();
  ModelPool(const ModelPool&) = delete;
  ModelPool& operator=(const ModelPool&) = delete;

  /// Returns the model `spec`, loaded, which stays loaded while the caller holds it. `spec` is a name as in ModelNames;
  /// any other path is not_found without a look at the file system. Resolve and Policy come before anything is
  /// unloaded; without `request` Policy judges the model's usual one. Throws not_found, ambiguous, what Policy blocks,
  /// memory, and RetryLater if other models occupy the room for too long.
  std::shared_ptr<const ServedModel> acquire(const std::string& spec, const std::optional<RequestFacts>& request);
  /// As acquire for a model that is loaded already; null, without waiting, if it must be loaded first.
  std::shared_ptr<const ServedModel> acquire_loaded(const std::string& spec,
                                                    const std::optional<RequestFacts>& request);
  /// Probes the model `spec` without loading it; throws not_found, ambiguous.
  ModelInfo describe(const std::string& spec) const;
  /// Unloads the model `spec` once its requests have ended; throws not_found (also if it is not loaded), denied for the
  /// pinned one.
  void unload(const std::string& spec);

  struct Entry {
    ModelInfo info;
    std::string id;  // as in /v1/models
    bool loaded = false, pinned = false;
  };
  /// Stops loading for good: waiting requests are refused, a load in progress ends.
  void stop();

  /// Every model that clients may use and that runs here: the pinned one first, the rest by id.
  std::vector<Entry> list() const;

  struct Loaded {
    std::string id;       // as in /v1/models
    uint64_t handle = 0;  // as in the worker's status
    uint64_t weight_bytes = 0;
  };
  /// The loaded models; reads no files.
  std::vector<Loaded> loaded() const;
  /// The name of the pinned model in requests; empty if none is pinned.
  std::string pinned() const;
  /// Whether the pinned model is loaded; true if none is pinned.
  bool ready() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // shared with the acquired models
};

}  // namespace mlxk
