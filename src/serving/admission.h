#pragma once

#include <optional>

#include "base/error.h"
#include "policy/policy.h"

namespace mlxk {

/// A model that does not support the request (invalid).
class CapabilityMismatch : public Error {
 public:
  using Error::Error;
};

/// Asks Policy; throws if it blocks the request (invalid, not_found, unsupported, memory), else returns its decision,
/// allow or warn.
Decision admit(const ModelInfo& model, const Machine& machine, const RequestFacts& request);

/// Asks Policy about a text request; throws if it blocks the request (invalid, unsupported, memory) or if the model is
/// neither a text model nor one that sees, else returns its decision, allow or warn.
Decision admit_text(const ModelInfo& model, const Machine& machine, const RequestFacts& request);

/// admit for a server, which serves text, speech and embedding models: throws unsupported for a model of no such kind.
/// Without `request` it judges the model's usual request.
Decision admit_served(const ModelInfo& model, const Machine& machine, const std::optional<RequestFacts>& request);

/// The usual request for `model`: a recording for a speech model, vectors or scores for an embedding model, an image
/// for a model that needs one, text for any other.
RequestFacts usual_request(const ModelInfo& model);

}  // namespace mlxk
