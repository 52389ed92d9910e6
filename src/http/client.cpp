#include "http/client.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <exception>

#include "base/error.h"
#include "http/curl_library.h"
#include "http/reach.h"
#include "http/url.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMaxHops = 10;
constexpr size_t kMaxHeaderBytes = 256 << 10;
constexpr uint64_t kMaxErrorBody = 64 << 10;

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == text.npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

const char* environment(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value && *value) return value;
  }
  return nullptr;
}

/// The hop in progress, as the callbacks of libcurl see it.
struct Hop {
  const HttpCall& request;
  HttpReply& response;
  bool followed;           // a redirect will be followed: its body is skipped
  bool head_seen = false;  // on_head has been called
  bool enough = false;     // a callback of the caller ended the transfer
  bool too_large = false;
  bool stalled = false;
  size_t header_bytes = 0;
  uint64_t sent = 0;      // of an upload
  curl_off_t moved = -1;  // bytes in both directions, at the last check
  Clock::time_point moved_at = Clock::now();
  std::exception_ptr error{};
  Reach allowed = Reach::further;  // the hub's own
  bool forbidden = false;          // a redirect led to this machine or link

  /// Runs `body`, which returns false to end the transfer; an exception must not pass through C.
  template <class Body>
  bool guarded(Body body) {
    try {
      return body();
    } catch (...) {
      error = std::current_exception();
      return false;
    }
  }

  bool see_head() {
    if (head_seen) return true;
    head_seen = true;
    if ((followed && is_redirect(response.status)) || !request.on_head) return true;
    if (request.on_head(response)) return true;
    enough = true;
    return false;
  }

  bool take(std::string_view data) {
    if (request.cancelled && request.cancelled()) {
      response.cancelled = true;
      return false;
    }
    if (!see_head()) return false;
    if (followed && is_redirect(response.status)) return true;
    const bool success = response.status >= 200 && response.status < 300;
    if (success && request.on_data) {
      if (request.on_data(data)) return true;
      enough = true;
      return false;
    }
    if (response.body.size() + data.size() > (success ? request.max_body : kMaxErrorBody)) {
      too_large = success;
      enough = !success;  // the first part of an error's text will do
      return false;
    }
    response.body += data;
    return true;
  }
};

size_t on_header(char* data, size_t size, size_t count, void* user) {
  auto& hop = *static_cast<Hop*>(user);
  const std::string_view line(data, size * count);
  const bool go_on = hop.guarded([&] {
    hop.header_bytes += line.size();
    if (hop.header_bytes > kMaxHeaderBytes) {
      hop.too_large = true;
      return false;
    }
    if (line.starts_with("HTTP/")) {  // also after a 100 Continue
      hop.response.headers.clear();
      const size_t space = line.find(' ');
      hop.response.status = space == line.npos ? 0 : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
      return true;
    }
    const size_t colon = line.find(':');
    if (colon != line.npos) hop.response.headers[std::string(line.substr(0, colon))] = trim(line.substr(colon + 1));
    return true;
  });
  return go_on ? line.size() : 0;
}

size_t on_body(char* data, size_t size, size_t count, void* user) {
  auto& hop = *static_cast<Hop*>(user);
  const std::string_view piece(data, size * count);
  return hop.guarded([&] { return hop.take(piece); }) ? piece.size() : 0;
}

size_t on_read(char* buffer, size_t size, size_t count, void* user) {
  auto& hop = *static_cast<Hop*>(user);
  size_t given = 0;
  const bool ok = hop.guarded([&] {
    given = hop.request.on_upload(hop.sent, buffer, size * count);
    hop.sent += given;
    return true;
  });
  return ok ? given : static_cast<size_t>(CURL_READFUNC_ABORT);
}

int on_progress(void* user, curl_off_t, curl_off_t down, curl_off_t, curl_off_t up) {
  auto& hop = *static_cast<Hop*>(user);
  const bool go_on = hop.guarded([&] {
    hop.response.cancelled = hop.request.cancelled && hop.request.cancelled();
    if (hop.moved != down + up) {
      hop.moved = down + up;
      hop.moved_at = Clock::now();
    }
    hop.stalled = Clock::now() - hop.moved_at > std::chrono::seconds(hop.request.stall_seconds);
    return !hop.response.cancelled && !hop.stalled;
  });
  return go_on ? 0 : 1;
}

/// Opens no socket to an address that a redirect must not reach. The address is the resolved one.
curl_socket_t on_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& hop = *static_cast<Hop*>(user);
  const Reach reach = reach_of(*reinterpret_cast<const sockaddr*>(&address->addr));
  if (reach != Reach::further && reach != hop.allowed) {
    hop.forbidden = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype, address->protocol);
}

/// Opens no socket but to the public internet.
curl_socket_t on_public_socket(void* user, curlsocktype, curl_sockaddr* address) {
  if (!is_public(*reinterpret_cast<const sockaddr*>(&address->addr))) {
    static_cast<Hop*>(user)->forbidden = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype, address->protocol);
}

/// Whether requests may go through a proxy; then addresses of sockets are the proxy's.
bool has_proxy() {
  const char* none = environment({"NO_PROXY", "no_proxy"});
  if (none && std::string_view(none) == "*") return false;
  return environment({"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"}) != nullptr;
}

/// Whether a retry may help.
bool is_transient(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_OUT_OF_MEMORY: return false;
    default: return true;
  }
}

}  // namespace

bool CaselessLess::operator()(std::string_view a, std::string_view b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                      [](char x, char y) { return to_lower(x) < to_lower(y); });
}

std::string header_value(const HttpHeaders& headers, std::string_view name) {
  const auto found = headers.find(std::string(name));
  return found == headers.end() ? std::string{} : found->second;
}

struct HttpClient::Impl {
  const CurlLibrary& curl = curl_library();
  CURL* handle = curl.easy_init();

  ~Impl() { curl.easy_cleanup(handle); }

  void set_connection(const HttpCall& request) {
    const auto set = curl.easy_setopt;
    set(handle, CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    set(handle, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    set(handle, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    set(handle, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    set(handle, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request.connect_seconds));
    set(handle, CURLOPT_LOW_SPEED_LIMIT, 100L);  // a trickle is no better than nothing; on_progress sees to the latter
    set(handle, CURLOPT_LOW_SPEED_TIME, 3L * request.stall_seconds);
    set(handle, CURLOPT_TCP_KEEPALIVE, 1L);
    set(handle, CURLOPT_BUFFERSIZE, 512L << 10);
    set(handle, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    // libcurl itself reads the lower-case name only; users expect both to work.
    if (const char* proxy = environment({"HTTP_PROXY"});
        proxy && request.url.starts_with("http:") && !environment({"http_proxy"})) {
      set(handle, CURLOPT_PROXY, proxy);
    }
    if (const char* file = environment({"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"})) {
      set(handle, CURLOPT_CAINFO, file);
    }
  }

  void set_method(const HttpCall& request) {
    const auto set = curl.easy_setopt;
    if (request.method == "HEAD") {
      set(handle, CURLOPT_NOBODY, 1L);
    } else if (request.on_upload) {
      set(handle, CURLOPT_UPLOAD, 1L);
      set(handle, CURLOPT_READFUNCTION, on_read);
      set(handle, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.upload_bytes));
      set(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    } else if (request.method != "GET") {
      set(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      set(handle, CURLOPT_POSTFIELDS, request.body.c_str());
      set(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }

  /// One request to `url`, into `response`; redirects are the caller's.
  void send_hop(const HttpCall& request, const std::string& url, bool is_home, HttpReply& response) {
    const bool safe = request.method == "GET" || request.method == "HEAD";
    Hop hop{request, response, safe && !request.public_only};
    curl.easy_reset(handle);
    const auto set = curl.easy_setopt;
    set_connection(request);
    set_method(request);
    set(handle, CURLOPT_URL, url.c_str());
    set(handle, CURLOPT_HEADERFUNCTION, on_header);
    set(handle, CURLOPT_HEADERDATA, &hop);
    set(handle, CURLOPT_WRITEFUNCTION, on_body);
    set(handle, CURLOPT_WRITEDATA, &hop);
    set(handle, CURLOPT_READDATA, &hop);
    set(handle, CURLOPT_NOPROGRESS, 0L);
    set(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    set(handle, CURLOPT_XFERINFODATA, &hop);
    const bool direct = !has_proxy();
    hop.allowed = home_;
    if (!is_home && direct) {
      set(handle, CURLOPT_OPENSOCKETFUNCTION, on_socket);
      set(handle, CURLOPT_OPENSOCKETDATA, &hop);
    }

    if (request.public_only) {
      set(handle, CURLOPT_PROXY, "");
      set(handle, CURLOPT_OPENSOCKETFUNCTION, on_public_socket);
      set(handle, CURLOPT_OPENSOCKETDATA, &hop);
    }
    if (request.max_seconds > 0) set(handle, CURLOPT_TIMEOUT, static_cast<long>(request.max_seconds));

    curl_slist* list = nullptr;
    const auto add = [&](const std::string& line) { list = curl.slist_append(list, line.c_str()); };
    add("User-Agent: mlxk/" MLXK_VERSION);
    add("Accept-Encoding: identity");
    add("Expect:");  // no 100-continue round trip
    for (const auto& line : request.headers) add(line);
    if (is_home && !request.authorization.empty()) add("Authorization: " + request.authorization);
    set(handle, CURLOPT_HTTPHEADER, list);

    response = HttpReply{.first_headers = std::move(response.first_headers)};
    CURLcode code = curl.easy_perform(handle);
    if (is_home) home_ = direct ? reach_of_peer() : reach_of_host(parse_origin(url).host);
    curl.slist_free_all(list);
    if (!hop.error && code == CURLE_OK) hop.guarded([&] { return hop.see_head(); });  // a reply without a body
    if (hop.error) std::rethrow_exception(hop.error);
    if (code == CURLE_OK || hop.enough) return;
    const std::string place = url_origin(url);
    if (response.cancelled) {
      response.failure = "interrupted";
    } else if (hop.forbidden && request.public_only) {
      response.failure = fmt::format("{} is not a public address", place);
    } else if (hop.forbidden) {
      response.failure = fmt::format("a redirect leads to {}, which is on this machine or link", place);
    } else if (hop.stalled) {
      response.failure = fmt::format("{}: no data for {} s", place, request.stall_seconds);
      response.transient = response.stalled = true;
    } else if (hop.too_large) {
      response.failure = fmt::format("the reply of {} is too large", place);
    } else {
      response.failure = fmt::format("{}: {}", place.empty() ? "not an http(s) URL" : place, curl.easy_strerror(code));
      response.transient = is_transient(code);
    }
  }

  /// The reach of the address that the last request went to.
  Reach reach_of_peer() const {
    char* address = nullptr;
    const bool known = curl.easy_getinfo(handle, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address && *address;
    return known ? reach_of_host(address) : Reach::further;
  }

  Reach home_ = Reach::further;  // of the requested origin, not of redirect targets

  HttpReply send(const HttpCall& request) {
    HttpReply response;
    const UrlOrigin home = parse_origin(request.url);
    std::string url = request.url;
    for (int hop = 0; hop <= kMaxHops; ++hop) {
      const UrlOrigin origin = parse_origin(url);
      send_hop(request, url, origin == home, response);
      response.host = url_origin(url);
      response.redirected = hop > 0;
      response.other_origin = origin != home;
      if (hop == 0) response.first_headers = response.headers;
      const bool safe = request.method == "GET" || request.method == "HEAD";
      if (!response.failure.empty() || !safe || request.public_only || !is_redirect(response.status)) return response;
      const std::string next = resolve_url(url, header_value(response.headers, "Location"));
      const UrlOrigin target = parse_origin(next);
      if (const Reach reach = reach_of_host(target.host); reach != Reach::further && reach != home_ && target != home) {
        response.failure =
            fmt::format("{} redirects to {}, which is on this machine or link", response.host, target.host);
        return response;
      }
      if (target.scheme.empty() || (origin.scheme == "https" && target.scheme == "http")) {
        response.failure =
            fmt::format("{} redirects to {}", response.host,
                        target.scheme.empty() ? "a URL that is not http(s)" : "an address without encryption");
        return response;
      }
      url = next;
    }
    response.failure = fmt::format("{} redirects without end", url_origin(request.url));
    return response;
  }
};

HttpClient::HttpClient() : impl_(std::make_unique<Impl>()) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

HttpReply HttpClient::send(const HttpCall& request) { return impl_->send(request); }

}  // namespace mlxk
