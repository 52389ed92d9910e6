#include "server/answer/engine_failure.h"

namespace mlxk {

ApiError api_error(const FailedEvent& failed) {
  const bool full = failed.kind == ErrorKind::unavailable && failed.retry_after_s > 0;
  ApiError error(failed.kind, failed.message, "", full ? "queue_full" : "", full ? 429 : 0);
  if (failed.retry_after_s > 0) error.retry_after_s = failed.retry_after_s;
  return error;
}

}  // namespace mlxk
