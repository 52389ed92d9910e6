#pragma once

#include <optional>
#include <string>

#include "transport/exchange.h"

namespace mlxk {

/// What a key must allow for a route.
enum class Scope { inference, admin };

/// Who may ask at all: API keys, Host, Origin, CORS. On the I/O thread; quick.
class Guard {
 public:
  virtual ~Guard() = default;
  /// Looks at a request's head before its body is read: the refusal (401, 403) or the answer to a CORS preflight;
  /// nullopt lets it pass. `key_id` becomes the id (never the secret) of the key it came with; empty without keys.
  virtual std::optional<HttpResponse> check(const HttpRequest& head, Scope scope, std::string& key_id) const = 0;
  /// Adds to any answer what CORS wants of it.
  virtual void decorate(const HttpRequest& head, HttpResponse& response) const = 0;
};

}  // namespace mlxk
