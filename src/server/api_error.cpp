#include "server/api_error.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/log.h"
#include "base/out_of_memory.h"
#include "server/client_text.h"
#include "server/json_text.h"
#include "serving/admission.h"

namespace mlxk {

namespace {
constexpr std::string_view kModelNotFound = "model_not_found";

/// MLX Knife's type names, and similar ones for statuses that it lacks.
const char* type_of(int status, std::string_view code) {
  switch (status) {
    case 400: return "validation_error";
    case 401: return "authentication_error";
    case 403: return "access_denied";
    case 404: return code == kModelNotFound ? "model_not_found" : "not_found";
    case 405: return "method_not_allowed";
    case 408: return "request_timeout";
    case 409: return "conflict";
    case 413: return "payload_too_large";
    case 414: return "uri_too_long";
    case 415: return "unsupported_media_type";
    case 417: return "expectation_failed";
    case 429: return "rate_limited";
    case 431: return "header_too_large";
    case 501: return "not_implemented";
    case 502: return "bad_gateway";
    case 503: return "server_shutdown";
    case 504: return "gateway_timeout";
    case 505: return "http_version_not_supported";
    case 507: return "insufficient_memory";
    default: return status < 500 ? "validation_error" : "internal_error";
  }
}

/// The code of an error without one of its own; clients look for that of an unknown model.
std::string_view code_of(const Error& error) {
  if (dynamic_cast<const CapabilityMismatch*>(&error)) return "capability_mismatch";
  if (const auto* api = dynamic_cast<const ApiError*>(&error); api && !api->code.empty()) return api->code;
  switch (error.kind()) {
    case ErrorKind::not_found:
    case ErrorKind::no_revision: return kModelNotFound;
    case ErrorKind::ambiguous: return "ambiguous_model";
    default: return {};
  }
}

bool is_retryable(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

int status_of(const std::exception& error) {
  if (const auto* api = dynamic_cast<const ApiError*>(&error); api && api->status != 0) return api->status;
  if (const auto* known = dynamic_cast<const Error*>(&error)) {
    const int status = error_kind_info(known->kind()).http_status;
    return status == 499 ? 503 : status;  // cancelled, but not by the client, who would read no answer
  }
  return is_out_of_memory(error) ? error_kind_info(ErrorKind::memory).http_status : 500;
}
}  // namespace

std::string openai_error(const ErrorReport& report) {
  std::string out = R"({"status":"error","error":{"message":)";
  append_json_string(out, report.message);
  out += fmt::format(R"(,"type":"{}","param":)", type_of(report.status, report.code));
  append_json_string_or_null(out, report.param);
  out += R"(,"code":)";
  append_json_string_or_null(out, report.code);
  if (!report.detail.empty()) {
    out += R"(,"detail":)";
    append_json_string(out, report.detail);
  }
  if (report.retryable) out += R"(,"retryable":true)";
  out += R"(},"request_id":)";
  append_json_string(out, report.request_id);
  return out += '}';
}

HttpResponse error_response(int status, std::string_view message, const std::string& request_id, std::string_view param,
                            std::string_view code, std::string_view detail, ErrorStyle style) {
  HttpResponse response;
  response.status = status;
  response.body = style({.status = status,
                         .message = std::string(cut_for_client(message)),
                         .param = std::string(param),
                         .code = std::string(code),
                         .detail = std::string(cut_for_client(detail)),
                         .request_id = request_id,
                         .retryable = is_retryable(status)});
  return response;
}

HttpResponse error_response(const std::exception& error, const std::string& request_id, ErrorStyle style) {
  const int status = status_of(error);
  const auto* known = dynamic_cast<const Error*>(&error);
  // A foreign exception may name anything: files, addresses, user data.
  if (!known)
    return error_response(status, status == 500 ? "internal error" : "out of memory", request_id, {}, {}, {}, style);
  const auto* api = dynamic_cast<const ApiError*>(known);
  // As in the log: no keys; and no folders.
  const auto told = [](const std::string& text) { return without_folders(log::redact(text)); };
  HttpResponse response = error_response(status, told(known->what()), request_id, api ? api->param : "",
                                         code_of(*known), told(known->hint()), style);
  std::optional<double> seconds = api ? api->retry_after_s : std::nullopt;
  if (const auto* later = dynamic_cast<const RetryLater*>(known)) seconds = later->retry_after_s();
  if (seconds) {
    const auto whole = static_cast<int>(std::ceil(std::clamp(*seconds, 1.0, 3600.0)));
    response.headers.add("Retry-After", std::to_string(whole));
  }
  return response;
}

void answer_errors(Exchange& exchange, const std::function<void()>& function, ErrorStyle style) {
  try {
    function();
  } catch (const std::exception& e) {
    if (!dynamic_cast<const Error*>(&e)) log::error(fmt::format("request {}: {}", exchange.request_id(), e.what()));
    exchange.respond(error_response(e, exchange.request_id(), style));
  }
}

}  // namespace mlxk
