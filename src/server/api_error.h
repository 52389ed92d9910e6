#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "transport/exchange.h"

namespace mlxk {

/// A refused request, with the fields of its envelope beyond kind and message.
class ApiError : public Error {
 public:
  /// `param`: the field at fault, "messages[0].role"; empty: none. `status` 0: the kind's.
  ApiError(ErrorKind kind, const std::string& message, std::string param = {}, std::string code = {}, int status = 0)
      : Error(kind, message), param(std::move(param)), code(std::move(code)), status(status) {}

  std::string param, code;
  int status;
  std::optional<double> retry_after_s;
};

/// An error as a client sees it. The texts are shortened and cleaned already.
struct ErrorReport {
  int status;
  std::string message, param, code, detail;  // all but `message` may be empty
  std::string request_id;
  bool retryable = false;
};

/// Writes the error document of a protocol; each route has its style.
using ErrorStyle = std::string (*)(const ErrorReport& report);

/// {"status":"error","error":{"message","type","param","code","detail"?,"retryable"?},"request_id"}: OpenAI's form,
/// with the type names of MLX Knife (validation_error, access_denied, …).
std::string openai_error(const ErrorReport& report);

/// Returns an error as a response, with at most 2,000 bytes of `message` and `detail`.
HttpResponse error_response(int status, std::string_view message, const std::string& request_id,
                            std::string_view param = {}, std::string_view code = {}, std::string_view detail = {},
                            ErrorStyle style = openai_error);
/// Returns an exception as a response: ApiError, with Retry-After if known; Error, with its hint as detail; anything
/// else as 500 without its text. Paths are shortened to their last part.
HttpResponse error_response(const std::exception& error, const std::string& request_id,
                            ErrorStyle style = openai_error);

/// Runs `function`; an exception becomes the answer of `exchange`.
void answer_errors(Exchange& exchange, const std::function<void()>& function, ErrorStyle style = openai_error);

}  // namespace mlxk
