#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace mlxk {

/// The kinds of failure: the one vocabulary from which exit codes, HTTP statuses and JSON types are derived.
enum class ErrorKind {
  usage,        // the command line or a request is malformed
  invalid,      // a value is out of range or contradicts another
  not_found,    // no such model or file
  no_revision,  // the model exists, the revision does not
  ambiguous,    // several models match
  unsupported,  // understood, but not built in
  bad_model,    // a model's files are broken or contradict each other
  memory,       // does not fit
  denied,       // permission, gated repository
  network,      // the hub could not be reached
  io,           // reading or writing a file failed
  cancelled,    // by the user
  unavailable,  // shutting down, overloaded
  deadline,     // the request's own time ran out
  internal,     // a defect of ours
};

/// One row of the table kind → exit code → HTTP status → JSON type.
struct ErrorKindInfo {
  ErrorKind kind;
  int exit_code;
  int http_status;
  const char* json_type;
};

/// The row of `kind`.
const ErrorKindInfo& error_kind_info(ErrorKind kind);

/// The one exception of the project. The message carries place and value; the hint, if there is one, says what to do.
/// Caught at three edges: command dispatcher, HTTP handler, worker.
class __attribute__((visibility("default"))) Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message, std::string hint = {})
      : std::runtime_error(message), kind_(kind), hint_(std::move(hint)) {}
  ErrorKind kind() const { return kind_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorKind kind_;
  std::string hint_;
};

/// Refused for now (unavailable): the same request may succeed after `retry_after_s` seconds.
class __attribute__((visibility("default"))) RetryLater : public Error {
 public:
  RetryLater(const std::string& message, double retry_after_s)
      : Error(ErrorKind::unavailable, message), retry_after_s_(retry_after_s) {}
  double retry_after_s() const { return retry_after_s_; }

 private:
  double retry_after_s_;
};

}  // namespace mlxk
