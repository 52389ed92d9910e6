#pragma once

#include <string>

namespace mlxk {

/// The parts of an http or https URL that identify the server.
struct UrlOrigin {
  std::string scheme, host, port;  // lower case; the port is always set
  bool operator==(const UrlOrigin&) const = default;
};

/// Returns the origin of `url`; its scheme is empty if `url` is not http or https.
UrlOrigin parse_origin(const std::string& url);

/// Resolves `location`, which may be relative, against `base`; empty when it cannot be parsed.
std::string resolve_url(const std::string& base, const std::string& location);

}  // namespace mlxk
