#pragma once

#include <cstdint>
#include <memory>

#include "worker/facts.h"

namespace mlxk {

struct Mailbox;

/// A loaded model as other threads hold it. The model itself lives on the worker thread, which unloads it once the last
/// handle is gone and before anything else is loaded; a request holds a handle until its last event.
class ModelHandle {
 public:
  ModelHandle(uint64_t id, ModelFacts facts, std::shared_ptr<Mailbox> mailbox);
  ~ModelHandle();
  ModelHandle(const ModelHandle&) = delete;
  ModelHandle& operator=(const ModelHandle&) = delete;
  /// Identifies the model among all that this worker ever loads.
  uint64_t id() const { return id_; }
  const ModelFacts& facts() const { return facts_; }

 private:
  const uint64_t id_;  // not the address: a new handle may get that before the worker has unloaded this one
  ModelFacts facts_;
  std::shared_ptr<Mailbox> mailbox_;
};

}  // namespace mlxk
