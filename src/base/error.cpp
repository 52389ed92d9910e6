#include "base/error.h"

#include <iterator>

namespace mlxk {

namespace {
constexpr ErrorKindInfo kKinds[] = {
    {ErrorKind::usage, 2, 400, "CommandError"},
    {ErrorKind::invalid, 1, 400, "ValidationError"},
    {ErrorKind::not_found, 1, 404, "model_not_found"},
    {ErrorKind::no_revision, 1, 404, "hash_not_found"},
    {ErrorKind::ambiguous, 1, 400, "ambiguous_match"},
    {ErrorKind::unsupported, 1, 501, "not_implemented"},
    {ErrorKind::bad_model, 1, 500, "bad_model"},
    {ErrorKind::memory, 1, 507, "insufficient_memory"},
    {ErrorKind::denied, 1, 403, "access_denied"},
    {ErrorKind::network, 1, 502, "network_error"},
    {ErrorKind::io, 1, 500, "io_error"},
    {ErrorKind::cancelled, 130, 499, "cancelled"},
    {ErrorKind::unavailable, 1, 503, "unavailable"},
    {ErrorKind::deadline, 1, 504, "gateway_timeout"},
    {ErrorKind::internal, 1, 500, "InternalError"},
};
}  // namespace

const ErrorKindInfo& error_kind_info(ErrorKind kind) {
  for (const auto& row : kKinds) {
    if (row.kind == kind) return row;
  }
  return kKinds[std::size(kKinds) - 1];
}

}  // namespace mlxk
