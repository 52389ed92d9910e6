#pragma once

#include "server/guard.h"

namespace mlxk::testing {

/// Lets every request pass.
class OpenGuard : public Guard {
 public:
  std::optional<HttpResponse> check(const HttpRequest&, Scope, std::string&) const override { return std::nullopt; }
  void decorate(const HttpRequest&, HttpResponse&) const override {}
};

}  // namespace mlxk::testing
