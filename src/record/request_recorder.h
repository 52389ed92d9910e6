#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include "hub/resolve.h"
#include "record/recorded_run.h"
#include "worker/event.h"
#include "worker/facts.h"

namespace mlxk {

/// Writes each answer of the engine to a file of its own in a folder. Any thread; files are written by one of its own.
class RequestRecorder {
 public:
  /// Makes the folder, for its owner alone; throws io. `redact` leaves prompts out.
  RequestRecorder(std::filesystem::path folder, bool redact, DeviceFacts device);
  /// Writes what is left.
  ~RequestRecorder();
  RequestRecorder(const RequestRecorder&) = delete;
  RequestRecorder& operator=(const RequestRecorder&) = delete;

  /// Makes `request` repeatable (a seed; log-probabilities are computed) and returns the sink that it is to be
  /// submitted with, in place of `sink`. `held` is what its constraint was made of. The recorder may end before the
  /// request.
  EventSink record(GenerateRequest& request, const ModelRef& model, std::optional<ConstraintSource> held,
                   EventSink sink);

 private:
  struct Shared;
  class Writer;
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace mlxk
