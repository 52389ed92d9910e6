#include "http/url.h"

#include <fmt/format.h>

#include <memory>

#include "http/client.h"
#include "http/curl_library.h"

namespace mlxk {

namespace {

using Url = std::unique_ptr<CURLU, decltype(&::curl_url_cleanup)>;

Url new_url() { return {curl_library().url(), curl_library().url_cleanup}; }

std::string part(const Url& url, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_library().url_get(url.get(), what, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_library().free(text);
  return copy;
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

}  // namespace

UrlOrigin parse_origin(const std::string& url) {
  const Url parsed = new_url();
  if (curl_library().url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return {};
  UrlOrigin origin = {lower(part(parsed, CURLUPART_SCHEME)), lower(part(parsed, CURLUPART_HOST)),
                      part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT)};
  const bool known = origin.scheme == "http" || origin.scheme == "https";
  return known && !origin.host.empty() ? origin : UrlOrigin{};
}

std::string resolve_url(const std::string& base, const std::string& location) {
  const Url url = new_url();
  if (curl_library().url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK) return {};
  if (curl_library().url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) return {};
  return part(url, CURLUPART_URL);
}

std::string url_origin(const std::string& url) {
  const UrlOrigin origin = parse_origin(url);
  if (origin.scheme.empty()) return {};
  const bool usual = origin.port == (origin.scheme == "https" ? "443" : "80");
  return fmt::format("{}://{}{}", origin.scheme, origin.host, usual ? "" : ":" + origin.port);
}

std::string url_encode(std::string_view text, bool keep_slashes) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~' || (keep_slashes && c == '/');
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

}  // namespace mlxk
