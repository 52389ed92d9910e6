#pragma once

#include <string>

namespace mlxk {

/// The parts of an http or https address that decide who is talked to.
struct UrlOrigin {
  std::string scheme, host, port;  // lower case; the port also where it is the scheme's own
  bool operator==(const UrlOrigin&) const = default;
};

/// The origin of `url`; its scheme is empty when that is no http or https address.
UrlOrigin parse_origin(const std::string& url);

/// `location`, which may be relative, as seen from `base`; empty when it cannot be read.
std::string resolve_url(const std::string& base, const std::string& location);

}  // namespace mlxk
