#pragma once

#include <optional>
#include <string>

#include "transport/exchange.h"

namespace mlxk {

/// The permission that a route needs.
enum class Scope { inference, admin };

/// Decides who may send requests: API keys, Host, Origin, CORS. On the I/O thread; quick.
class Guard {
 public:
  virtual ~Guard() = default;
  /// Checks a request's head before its body is read. Returns the refusal (401, 403) or the answer to a CORS preflight;
  /// nullopt lets the request pass. Sets `key_id` to the id (never the secret) of its key; empty without keys.
  virtual std::optional<HttpResponse> check(const HttpRequest& head, Scope scope, std::string& key_id) const = 0;
  /// Adds the CORS headers to a response.
  virtual void decorate(const HttpRequest& head, HttpResponse& response) const = 0;
};

}  // namespace mlxk
