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

/// Writes each answer of the engine to its own file in a folder. Any thread; its own thread writes the files.
class RequestRecorder {
 public:
  /// Creates the folder, accessible to its owner only; throws io. `redact` leaves prompts out.
  RequestRecorder(std::filesystem::path folder, bool redact, DeviceFacts device);
  /// Writes the remaining answers.
  ~RequestRecorder();
  RequestRecorder(const RequestRecorder&) = delete;
  RequestRecorder& operator=(const RequestRecorder&) = delete;

  /// Makes `request` reproducible (sets a seed and requests log-probabilities) and returns the sink to submit it with
  /// in place of `sink`. `held` is the source of its constraint. The recorder may be destroyed before the request ends.
  EventSink record(GenerateRequest& request, const ModelRef& model, std::optional<ConstraintSource> held,
                   EventSink sink);

 private:
  struct Shared;
  class Writer;
  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Writer> writer_;
};

}  // namespace mlxk
