#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// Compares ASCII text without regard to case, as header names need it.
struct CaselessLess {
  bool operator()(std::string_view a, std::string_view b) const;
};

/// The headers of a reply; of a repeated name the last value counts.
using HttpHeaders = std::map<std::string, std::string, CaselessLess>;

/// The value of header `name`; empty when absent.
std::string header_value(const HttpHeaders& headers, std::string_view name);

struct HttpReply {
  int status = 0;             // of the last hop; 0: no reply
  HttpHeaders headers;        // of the last hop
  HttpHeaders first_headers;  // of the first reply: a redirect's own (X-Linked-Etag)
  std::string host;           // of the last hop, with its port unless that is the default
  std::string body;           // unless it went to on_data
  std::string failure;        // why the reply is incomplete; empty: it is complete
  bool transient = false;     // of a failure: a retry may help
  bool stalled = false;       // of a failure: the connection was open, and nothing came in time
  bool cancelled = false;     // by HttpCall::cancelled
  bool redirected = false;    // the reply came from another address than the one requested
  bool other_origin = false;  // … and of another scheme, host or port

  bool ok() const { return failure.empty() && status >= 200 && status < 300; }
};

/// One request. Redirects (of GET and HEAD, at most ten) are followed by hand: `authorization` goes to the origin of
/// `url` alone, https never becomes http, and a redirect reaches this machine (loopback) or link (169.254/16,
/// fe80::/10) only if `url` itself does.
struct HttpCall {
  std::string url;
  std::string method = "GET";
  std::vector<std::string> headers;  // "Name: value", sent to every hop
  std::string authorization;         // value of that header; empty: none
  std::string body;                  // of POST and PUT
  /// Fills a buffer with the bytes at an offset of an upload of `upload_bytes` and returns their number; 0 ends it.
  /// Each attempt begins at offset 0. Used instead of `body`.
  std::function<size_t(uint64_t, char*, size_t)> on_upload;
  uint64_t upload_bytes = 0;
  uint64_t max_body = uint64_t{64} << 20;  // collected at most; more is a failure
  int connect_seconds = 10;
  int stall_seconds = 10;    // nothing moving for that long, or next to nothing for three times that long, is a failure
  bool public_only = false;  // no proxy, no redirect, and only addresses of the public internet
  int max_seconds = 0;       // limit of the whole call; 0: as long as something moves
  /// Takes the final reply's head, before its body; false ends the transfer, without a failure.
  std::function<bool(const HttpReply&)> on_head;
  /// Takes the body of a 2xx reply piece by piece; false ends the transfer, without a failure.
  std::function<bool(std::string_view)> on_data;
  /// Called about once a second and with all data; true cancels the request.
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

  /// Sends a request; network failures are in the reply. Throws the callbacks' exceptions.
  HttpReply send(const HttpCall& request);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Returns `text` with everything but letters, digits and "-._~" (and "/" if `keep_slashes`) as %XX.
std::string url_encode(std::string_view text, bool keep_slashes = false);

/// Returns scheme://host[:port] of a URL, without user, path or query, for messages; empty unless it is http or https.
std::string url_origin(const std::string& url);

}  // namespace mlxk
