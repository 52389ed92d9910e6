#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "json/json.h"
#include "transport/exchange.h"

namespace mlxk {

/// A request that is refused, with what its envelope says beyond kind and message.
class ApiError : public Error {
 public:
  /// `param`: the field at fault, "messages[0].role"; empty: none. `status` 0: the kind's.
  ApiError(ErrorKind kind, const std::string& message, std::string param = {}, std::string code = {}, int status = 0)
      : Error(kind, message), param(std::move(param)), code(std::move(code)), status(status) {}

  std::string param, code;
  int status;
  std::optional<double> retry_after_s;
};

/// What a client is told of an error. The texts are cut and cleaned already.
struct ErrorReport {
  int status;
  std::string message, param, code, detail;  // but for `message` empty where there is none
  std::string request_id;
  bool retryable = false;
};

/// Spells an error's document as a protocol does; a route names its own.
using ErrorStyle = std::string (*)(const ErrorReport& report);

/// {"status":"error","error":{"message","type","param","code","detail"?,"retryable"?},"request_id"}: OpenAI's form with
/// the original's word for the status as type (validation_error, access_denied, …).
std::string openai_error(const ErrorReport& report);

/// An error as an answer. Of `message` and `detail` at most 2,000 bytes are told.
HttpResponse error_response(int status, std::string_view message, const std::string& request_id,
                            std::string_view param = {}, std::string_view code = {}, std::string_view detail = {},
                            ErrorStyle style = openai_error);
/// The same for what was thrown: ApiError, with Retry-After where it is known; Error, its hint as detail; anything else
/// (500, without its text). Of a path the last part alone is told.
HttpResponse error_response(const std::exception& error, const std::string& request_id,
                            ErrorStyle style = openai_error);

/// Runs `function`; what it throws is the exchange's answer.
void answer_errors(Exchange& exchange, const std::function<void()>& function, ErrorStyle style = openai_error);

}  // namespace mlxk
