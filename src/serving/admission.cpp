#include "serving/admission.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {

namespace {
ErrorKind kind_of(const Decision& decision) {
  switch (decision.http_status) {
    case 400: return ErrorKind::invalid;
    case 404: return ErrorKind::not_found;
    case 500: return ErrorKind::bad_model;
    case 507: return ErrorKind::memory;
    default: return ErrorKind::unsupported;
  }
}
}  // namespace

Decision admit(const ModelInfo& model, const Machine& machine, const RequestFacts& request) {
  Decision decision = decide(model, machine, request);
  if (decision.kind != Decision::Kind::block) return decision;
  if (decision.error_type == "capability_mismatch") throw CapabilityMismatch(kind_of(decision), decision.message);
  throw Error(kind_of(decision), decision.message);
}

Decision admit_text(const ModelInfo& model, const Machine& machine, const RequestFacts& request) {
  Decision decision = admit(model, machine, request);
  if (decision.route != Route::text && decision.route != Route::vision) {
    throw Error(ErrorKind::unsupported, fmt::format("'{}' is not a text model: {}", model.ref.name, model.reason));
  }
  return decision;
}

Decision admit_served(const ModelInfo& model, const Machine& machine, const std::optional<RequestFacts>& request) {
  RequestFacts facts = request.value_or(usual_request(model));
  facts.context = Context::server;
  Decision decision = admit(model, machine, facts);
  if (decision.route == Route::none) {
    throw Error(ErrorKind::unsupported, fmt::format("'{}' does not run here: {}", model.ref.name, model.reason));
  }
  return decision;
}

RequestFacts usual_request(const ModelInfo& model) {
  return {.context = Context::server,
          .has_images = model.needs_image,
          .has_audio = model.audio_backend == AudioBackend::stt,
          .encodes = model.encoder_task};
}

}  // namespace mlxk
