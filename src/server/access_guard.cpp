#include "server/access_guard.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "server/api_error.h"
#include "server/openai/schema.h"
#include "transport/web_socket.h"

namespace mlxk {

namespace {

constexpr const char* kMaxAge = "600";
constexpr size_t kMaxShown = 100;  // bytes of a host or an origin in a message

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

/// "Example.org.:8000" → "example.org", "[::1]:8000" → "[::1]"; empty if it is not a host.
std::string host_name(std::string_view value) {
  const size_t end = value.starts_with('[') ? value.find(']') : value.find(':');
  if (value.starts_with('[') && end == value.npos) return {};
  std::string name = lower(value.starts_with('[') ? value.substr(0, end + 1) : value.substr(0, end));
  if (name.ends_with('.')) name.pop_back();
  const std::string_view rest = value.substr(std::min(value.starts_with('[') ? end + 1 : end, value.size()));
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool port = rest.empty() || (rest.front() == ':' && std::all_of(rest.begin() + 1, rest.end(), digit));
  return port ? name : std::string{};
}

/// Whether `name` is an address. Addresses cannot be rebound: a page with an address in its URL really comes from
/// there.
bool is_address(const std::string& name) {
  unsigned char bytes[16];
  if (name.starts_with('[')) return inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), bytes) == 1;
  return inet_pton(AF_INET, name.c_str(), bytes) == 1;
}

/// The value of a field that must not be repeated; nullopt if absent. Repeated values match no allowed one.
std::optional<std::string> single(const HttpRequest& head, std::string_view name) {
  std::optional<std::string> value;
  for (const auto& [field, content] : head.headers.fields()) {
    if (lower(field) != name) continue;
    value = value ? std::string("(several)") : content;
  }
  return value;
}

bool changes_nothing(const std::string& method) { return method == "GET" || method == "HEAD" || method == "OPTIONS"; }

bool is_preflight(const HttpRequest& head) {
  return head.method == "OPTIONS" && head.headers.find("origin") && head.headers.find("access-control-request-method");
}

HttpResponse refused(const HttpRequest& head, int status, std::string_view message, std::string_view code) {
  return error_response(status, message, head.id, "", code);
}

bool is_one_of(char c, std::string_view others) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || others.find(c) != others.npos;
}

/// Whether a message may show `text` as a shell word.
bool is_plain(const std::string& text) {
  return !text.empty() && text.size() <= kMaxShown &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_one_of(c, ".-_:/[]"); });
}

HttpResponse refused_host(const HttpRequest& head) {
  const std::string host = single(head, "host").value_or("");
  const std::string name = host_name(host);
  std::string message = fmt::format("The host {} is not allowed", schema::shown(host, kMaxShown));
  if (is_plain(name)) message += fmt::format("; start the server with --allowed-host {} to allow it", name);
  return refused(head, 403, message, "host_not_allowed");
}

HttpResponse refused_origin(const HttpRequest& head, const std::optional<std::string>& origin) {
  std::string message = "Requests from other sites are not allowed";
  if (origin) message = fmt::format("Requests from the origin {} are not allowed", schema::shown(*origin, kMaxShown));
  // An origin without a scheme (null) cannot be listed.
  const std::string listed = origin && origin->find("://") != std::string::npos ? *origin : "'*'";
  if (listed == "'*'" || is_plain(listed))
    message += fmt::format("; start the server with --cors-origin {} to allow them", listed);
  return refused(head, 403, message, "origin_not_allowed");
}

/// The headers that a preflight asks for, if they are valid names.
std::string asked_headers(const HttpRequest& head) {
  const auto asked = single(head, "access-control-request-headers");
  const auto fits = [](char c) { return is_one_of(c, "!#$%&'*+-.^_`|~, "); };
  return asked && std::all_of(asked->begin(), asked->end(), fits) ? *asked : "";
}

void check_origin(const std::string& origin) {
  if (origin == "*") return;
  const size_t scheme = origin.find("://");
  const bool ok = scheme != origin.npos && scheme > 0 && scheme + 3 < origin.size() &&
                  origin.find_first_of("/?#@ \\*,", scheme + 3) == origin.npos;
  if (!ok) {
    throw Error(
        ErrorKind::invalid,
        fmt::format("--cors-origin: '{}' is no origin; one looks like https://example.org or http://localhost:3000",
                    origin));
  }
}

}  // namespace

AccessGuard::AccessGuard(AccessOptions options, KeyRing keys) : options_(std::move(options)) {
  for (std::string& origin : options_.cors_origins) {
    check_origin(origin);
    origin = lower(origin);
    any_origin_ = any_origin_ || origin == "*";
  }
  std::vector<std::string> hosts = {"localhost", lower(options_.host)};
  for (const std::string& host : options_.allowed_hosts) {
    any_host_ = any_host_ || host == "*";
    hosts.push_back(lower(host));
  }
  options_.allowed_hosts = std::move(hosts);
  set_keys(std::move(keys));
}

void AccessGuard::set_keys(KeyRing keys) {
  auto shared = std::make_shared<const KeyRing>(std::move(keys));
  const std::lock_guard lock(mutex_);
  keys_ = std::move(shared);
}

std::shared_ptr<const KeyRing> AccessGuard::keys() const {
  const std::lock_guard lock(mutex_);
  return keys_;
}

bool AccessGuard::host_allowed(const HttpRequest& head) const {
  if (any_host_ || head.remote == "unix") return true;
  const auto host = single(head, "host");
  if (!host) return true;  // HTTP/1.0: no browser
  const std::string name = host_name(*host);
  const auto& allowed = options_.allowed_hosts;
  return !name.empty() && (is_address(name) || std::find(allowed.begin(), allowed.end(), name) != allowed.end());
}

bool AccessGuard::origin_listed(std::string_view origin) const {
  const auto& listed = options_.cors_origins;
  return any_origin_ || std::find(listed.begin(), listed.end(), lower(origin)) != listed.end();
}

bool AccessGuard::is_own_origin(const HttpRequest& head, std::string_view origin) const {
  const auto host = single(head, "host");
  return host && lower(origin) == fmt::format("{}://{}", options_.tls ? "https" : "http", lower(*host));
}

std::optional<HttpResponse> AccessGuard::check(const HttpRequest& head, Scope scope, std::string& key_id) const {
  if (!host_allowed(head)) {
    return refused_host(head);
  }
  const auto origin = single(head, "origin");
  if (is_preflight(head)) {
    if (!origin_listed(*origin)) return refused_origin(head, origin);
    HttpResponse response;
    response.status = 204;
    response.content_type.clear();
    response.headers.add("Access-Control-Allow-Methods", "GET, HEAD, POST");
    if (std::string asked = asked_headers(head); !asked.empty())
      response.headers.add("Access-Control-Allow-Headers", std::move(asked));
    if (single(head, "access-control-request-private-network") == "true")
      response.headers.add("Access-Control-Allow-Private-Network", "true");
    response.headers.add("Vary", "Access-Control-Request-Headers");
    response.headers.add("Access-Control-Max-Age", kMaxAge);
    return response;
  }
  if (!changes_nothing(head.method) || asks_for_websocket(head)) {
    // A foreign page cannot read the answer, except a WebSocket's; it must not start any work either.
    const auto site = head.headers.find("sec-fetch-site");
    const bool foreign =
        origin ? !origin_listed(*origin) && !is_own_origin(head, *origin) : site && *site == "cross-site";
    if (foreign) return refused_origin(head, origin);
  }
  return check_key(head, scope, key_id);
}

std::optional<HttpResponse> AccessGuard::check_key(const HttpRequest& head, Scope scope, std::string& key_id) const {
  const auto ring = keys();
  if (ring->empty()) return std::nullopt;
  std::string_view secret;
  if (const auto value = head.headers.find("authorization")) {
    constexpr std::string_view kBearer = "bearer ";
    if (lower(value->substr(0, kBearer.size())) == kBearer) secret = value->substr(kBearer.size());
    secret.remove_prefix(std::min(secret.find_first_not_of(' '), secret.size()));
  } else if (const auto plain = head.headers.find("x-api-key")) {
    secret = *plain;
  } else {
    // A page's WebSocket can send no headers; OpenAI's clients name the key among the subprotocols.
    constexpr std::string_view kProtocol = "openai-insecure-api-key.";
    for (const std::string_view protocol : offered_protocols(head)) {
      if (protocol.starts_with(kProtocol)) secret = protocol.substr(kProtocol.size());
    }
  }
  const ApiKey* key = ring->find(secret);
  if (!key) {
    HttpResponse response = refused(
        head, 401, secret.empty() ? "An API key is needed: Authorization: Bearer …" : "The API key is not valid.",
        "invalid_api_key");
    response.headers.add("WWW-Authenticate", "Bearer");
    return response;
  }
  if (!key->allows(scope)) {
    return refused(head, 403,
                   fmt::format("The API key '{}' does not have the scope {}.", key->id,
                               scope == Scope::admin ? "admin" : "inference"),
                   "missing_scope");
  }
  key_id = key->id;
  return std::nullopt;
}

void AccessGuard::decorate(const HttpRequest& head, HttpResponse& response) const {
  response.headers.add("X-Content-Type-Options", "nosniff");
  if (options_.cors_origins.empty()) return;
  const auto origin = single(head, "origin");
  if (!any_origin_) response.headers.add("Vary", "Origin");
  if (!origin || !origin_listed(*origin)) return;
  response.headers.add("Access-Control-Allow-Origin", any_origin_ ? "*" : *origin);
  response.headers.add("Access-Control-Expose-Headers", "X-Request-ID, Retry-After, WWW-Authenticate, Allow");
}

}  // namespace mlxk
