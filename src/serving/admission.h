#pragma once

#include "policy/policy.h"

namespace mlxk {

/// Policy's word as an exception: throws what blocks the request (invalid, not_found, unsupported, memory); else the decision,
/// allow or warn.
Decision admit(const ModelInfo& model, const Machine& machine, const RequestFacts& request);

/// Policy's word on a text request as an exception: throws what blocks it (invalid, unsupported, memory), also where no text
/// engine runs the model; else the decision, allow or warn.
Decision admit_text(const ModelInfo& model, const Machine& machine, const RequestFacts& request);

}  // namespace mlxk
