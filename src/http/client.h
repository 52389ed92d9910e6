#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// Compares ASCII text without regard to case, as header names ask for.
struct CaselessLess {
  bool operator()(std::string_view a, std::string_view b) const;
};

/// A reply's header; where a name comes several times the last value counts.
using HttpHeaders = std::map<std::string, std::string, CaselessLess>;

/// The value of header `name`; empty when absent.
std::string header_value(const HttpHeaders& headers, std::string_view name);

struct HttpReply {
  int status = 0;             // of the last hop; 0: no reply
  HttpHeaders headers;        // of the last hop
  HttpHeaders first_headers;  // of the first reply: a redirect's own (X-Linked-Etag)
  std::string host;           // of the last hop, with its port where that is unusual
  std::string body;           // unless it went to on_data
  std::string failure;        // why there is no whole reply; empty: there is
  bool transient = false;     // of a failure: trying again may help
  bool cancelled = false;     // `cancelled` said so
  bool redirected = false;    // the reply is of another address than the one asked for
  bool other_origin = false;  // … and of another scheme, host or port

  bool ok() const { return failure.empty() && status >= 200 && status < 300; }
};

/// One request. Redirects (of GET and HEAD, at most ten) are followed by hand: `authorization` goes to the origin of
/// `url` alone, https never turns into http, and this machine (loopback) or link (169.254/16, fe80::/10) is reached
/// only where `url` itself is there.
struct HttpCall {
  std::string url;
  std::string method = "GET";
  std::vector<std::string> headers;  // "Name: value", sent to every hop
  std::string authorization;         // value of that header; empty: none
  std::string body;                  // of POST and PUT
  /// Fills a buffer with the bytes from an offset on of an upload of `upload_bytes`, and says how many; 0 ends it. Each
  /// sending begins at offset 0. Instead of `body`.
  std::function<size_t(uint64_t, char*, size_t)> on_upload;
  uint64_t upload_bytes = 0;
  uint64_t max_body = uint64_t{64} << 20;  // collected at most; more is a failure
  int connect_seconds = 10;
  int stall_seconds = 10;  // nothing moving for that long, or next to nothing for three times that long, is a failure
  /// The final reply's head, before its body; false ends the transfer, without a failure.
  std::function<bool(const HttpReply&)> on_head;
  /// Takes the body of a 2xx reply piece by piece; false ends the transfer, without a failure.
  std::function<bool(std::string_view)> on_data;
  /// Asked about once a second and with all data.
  std::function<bool()> cancelled;
};

/// Sends requests, keeping connections open between them. One thread at a time. Proxies are those of the environment
/// (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), certificates the system's or SSL_CERT_FILE's.
class HttpClient {
 public:
  /// Throws unsupported when the machine has no libcurl.
  HttpClient();
  ~HttpClient();
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  /// What goes wrong on the way is in the response; throws what the callbacks throw.
  HttpReply send(const HttpCall& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// `text` with everything but letters, digits and "-._~" (and "/" when `keep_slashes`) as %XX.
std::string url_encode(std::string_view text, bool keep_slashes = false);

/// scheme://host[:port] of a URL: no user, path or query, so that it can be shown; empty when it is none of http(s).
std::string url_origin(const std::string& url);

}  // namespace mlxk
