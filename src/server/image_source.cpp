#include "server/image_source.h"

#include <fmt/format.h>

#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/file.h"
#include "base/stop.h"
#include "http/client.h"
#include "server/api_error.h"
#include "transport/target.h"

namespace mlxk {

namespace {

namespace fs = std::filesystem;

constexpr int kSeconds = 20;

[[noreturn]] void refuse(const std::string& param, const std::string& what) {
  throw ApiError(ErrorKind::invalid, what, param);
}

std::string fetch(const std::string& url, const std::string& param, size_t limit) {
  HttpClient client;
  const HttpReply reply = client.send({.url = url,
                                       .headers = {"Accept: image/*"},
                                       .max_body = limit,
                                       .connect_seconds = 5,
                                       .stall_seconds = 5,
                                       .public_only = true,
                                       .max_seconds = kSeconds,
                                       .cancelled = [] {
                                         check_stop();
                                         return false;
                                       }});
  if (!reply.failure.empty()) refuse(param, fmt::format("the image could not be fetched: {}", reply.failure));
  if (!reply.ok())
    refuse(param, fmt::format("the image could not be fetched: {} answered {}", reply.host, reply.status));
  return reply.body;
}

/// The path of a file URL, decoded; empty if the URL names a host or cannot be decoded.
std::string path_of(const std::string& url) {
  constexpr std::string_view kScheme = "file://";
  const std::string_view rest = std::string_view(url).substr(kScheme.size());
  if (!rest.starts_with('/')) return "";
  const std::optional<std::string> path = percent_decode(rest);
  return path && path->find('\0') == path->npos ? *path : "";
}

std::string read_file(const fs::path& root, const std::string& url, const std::string& param, size_t limit) {
  std::error_code error;
  const fs::path base = fs::weakly_canonical(root, error);
  const fs::path path = fs::weakly_canonical(path_of(url), error);
  const auto [end, below] = std::mismatch(base.begin(), base.end(), path.begin(), path.end());
  // A file outside of the root and a missing file get the same answer, so that clients cannot probe for files.
  if (error || end != base.end() || below == path.end() || !fs::is_regular_file(path, error)) {
    refuse(param, "there is no such file below the server's --media-root");
  }
  std::ifstream in(path, std::ios::binary);
  std::string bytes = read_stream(in, limit);
  if (bytes.size() > limit) refuse(param, fmt::format("the image has more than {} bytes", limit));
  if (in.bad() || bytes.empty()) refuse(param, "the image file cannot be read");
  return bytes;
}

}  // namespace

std::string read_image_url(const ImageSources& sources, const std::string& url, const std::string& param,
                           size_t limit) {
  if (sources.urls && (url.starts_with("http://") || url.starts_with("https://"))) return fetch(url, param, limit);
  if (!sources.media_root.empty() && url.starts_with("file://"))
    return read_file(sources.media_root, url, param, limit);
  refuse(param, "Only data URLs are supported (data:image/<type>;base64,<data>). External URLs are not supported.");
}

}  // namespace mlxk
