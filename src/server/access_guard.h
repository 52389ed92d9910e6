#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/guard.h"
#include "server/keys.h"

namespace mlxk {

struct AccessOptions {
  std::string host;                        // that the server is bound to
  std::vector<std::string> allowed_hosts;  // further names that a Host header may say; "*": any
  std::vector<std::string> cors_origins;   // pages that may ask: "https://example.org", "*": any
  bool tls = false;
};

/// The guard of a server that browsers, too, can reach. API keys on every route; a Host header that names no foreign
/// name (DNS rebinding); from a page of another origin only what the allow-list lets through, and credentials never.
class AccessGuard : public Guard {
 public:
  /// Throws invalid for an origin that is none.
  AccessGuard(AccessOptions options, KeyRing keys);
  std::optional<HttpResponse> check(const HttpRequest& head, Scope scope, std::string& key_id) const override;
  void decorate(const HttpRequest& head, HttpResponse& response) const override;
  /// From now on these keys count. Any thread.
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
