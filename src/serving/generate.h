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

/// Takes a request that is about to be submitted and gives the sink that it is to have in place of `sink`.
using RequestTap = std::function<EventSink(GenerateRequest& request, EventSink sink)>;

/// Runs `request` and hands parts to `on_parts` on this thread as they arrive. Ends early at a stop string and, as
/// `cancelled`, once stop_wanted() is true (called about twenty times a second). `tap` (may be empty) comes between the
/// request and the worker. Throws the engine's Error.
GeneratedAnswer generate(Worker& worker, const std::shared_ptr<const ModelHandle>& model, GenerateRequest request,
                         Completion completion, const std::function<void(const std::vector<Part>&)>& on_parts,
                         const std::function<bool()>& stop_wanted, const RequestTap& tap = {});

}  // namespace mlxk
