#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy/policy.h"
#include "serving/served_model.h"
#include "worker/worker.h"

namespace mlxk {

struct PoolOptions {
  std::string pinned;                        // --model: loaded first and never unloaded; may be a path
  std::chrono::seconds idle_timeout{0};      // 0: models stay until room is needed
  size_t max_models = 0;                     // 0: as many as fit
  std::chrono::milliseconds release_wait{10'000};
  TextModelOptions text;
};

/// The models of a server: loaded on demand, least recently used first out. Any thread; acquire and load may wait for long.
class ModelPool {
 public:
  ModelPool(Worker& worker, PoolOptions options);
  ~ModelPool();

  /// The model that `spec` means, loaded: by a cached name, a workspace's name under MLXK_WORKSPACE_HOME or exactly what was
  /// pinned; any other path is not_found without a look at the file system. Resolve and Policy come before anything is
  /// unloaded. Throws not_found, ambiguous, what Policy blocks (ApiError-free: Error), memory.
  std::shared_ptr<const ServedModel> acquire(const std::string& spec, const RequestFacts& request);
  /// As acquire, without loading: throws the same.
  ModelInfo describe(const std::string& spec) const;
  /// Unloads once its requests have ended; throws not_found, denied for the pinned one.
  void unload(const std::string& spec);

  struct Entry {
    ModelInfo info;
    std::string id;  // as /v1/models says it
    bool loaded = false, pinned = false;
  };
  /// Every model that can be asked for: the pinned first, the rest by id.
  std::vector<Entry> list() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mlxk
