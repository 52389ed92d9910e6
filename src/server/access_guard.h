#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/guard.h"
#include "server/keys.h"

namespace mlxk {

struct AccessOptions {
  std::string host;                        // the address that the server listens on
  std::vector<std::string> allowed_hosts;  // more names that a Host header may have; "*": any
  std::vector<std::string> cors_origins;   // origins of pages that may send requests: "https://example.org", "*": any
  bool tls = false;
};

/// The guard of a server that browsers can reach. Every route needs an API key; the Host header must not be a foreign
/// name (DNS rebinding); pages of other origins must be on the allow-list, and never send credentials.
class AccessGuard : public Guard {
 public:
  /// Throws invalid for a malformed origin.
  AccessGuard(AccessOptions options, KeyRing keys);
  std::optional<HttpResponse> check(const HttpRequest& head, Scope scope, std::string& key_id) const override;
  void decorate(const HttpRequest& head, HttpResponse& response) const override;
  /// Replaces the keys. Any thread.
  void set_keys(KeyRing keys);

 private:
  bool host_allowed(const HttpRequest& head) const;
  bool origin_listed(std::string_view origin) const;
  bool is_own_origin(const HttpRequest& head, std::string_view origin) const;
  std::optional<HttpResponse> check_key(const HttpRequest& head, Scope scope, std::string& key_id) const;
  std::shared_ptr<const KeyRing> keys() const;

  AccessOptions options_;
  bool any_host_ = false, any_origin_ = false;
  mutable std::mutex mutex_;
  std::shared_ptr<const KeyRing> keys_;
};

}  // namespace mlxk
