#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "chat/completion.h"
#include "worker/event.h"

namespace mlxk {

class ModelHandle;
class Worker;
struct GenerateRequest;

/// A finished answer.
struct GeneratedAnswer {
  std::string answer;  // without reasoning
  std::string reasoning;
  FinishReason reason = FinishReason::stop;
  Usage usage;
  Timings timings;

  double tokens_per_second() const;
};

/// "stop", "length" or "cancelled".
const char* finish_reason_name(FinishReason reason);

/// Runs `request` and hands parts to `on_parts` on this thread as they arrive. Ends early at a stop string and, as
/// `cancelled`, once stop_wanted() is true (called about twenty times a second). Throws the engine's Error.
GeneratedAnswer generate(Worker& worker, const std::shared_ptr<const ModelHandle>& model, GenerateRequest request,
                         Completion completion, const std::function<void(const std::vector<Part>&)>& on_parts,
                         const std::function<bool()>& stop_wanted);

}  // namespace mlxk
