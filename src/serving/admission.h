#pragma once

#include <optional>

#include "policy/policy.h"

namespace mlxk {

/// Policy's word as an exception: throws what blocks the request (invalid, not_found, unsupported, memory); else the
/// decision, allow or warn.
Decision admit(const ModelInfo& model, const Machine& machine, const RequestFacts& request);

/// Policy's word on a text request as an exception: throws what blocks it (invalid, unsupported, memory), also where no
/// text engine runs the model; else the decision, allow or warn.
Decision admit_text(const ModelInfo& model, const Machine& machine, const RequestFacts& request);

/// Policy's word on a request to a server, whose models are for text or for speech: as admit; unsupported for what
/// neither engine runs. Without a request it is about the model alone, for what it is for.
Decision admit_served(const ModelInfo& model, const Machine& machine, const std::optional<RequestFacts>& request);

/// A request for what the model is for: a recording for a speech model, text for any other.
RequestFacts usual_request(const ModelInfo& model);

}  // namespace mlxk
