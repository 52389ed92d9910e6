#include "server/image_source.h"

#include <fmt/format.h>

#include <fstream>
#include <system_error>

#include "base/stop.h"
#include "http/client.h"
#include "server/api_error.h"

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

/// The path of a file URL, %XX decoded; empty where it is of another host.
std::string path_of(const std::string& url) {
  constexpr std::string_view kScheme = "file://";
  const std::string_view rest = std::string_view(url).substr(kScheme.size());
  if (!rest.starts_with('/')) return "";
  std::string path;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != '%') {
      path += rest[i];
      continue;
    }
    const std::string digits(rest.substr(i + 1, 2));
    size_t read = 0;
    const int value = digits.size() == 2 ? std::stoi("0" + digits, &read, 16) : 0;
    if (read != 3 || value == 0) return "";
    path += static_cast<char>(value);
    i += 2;
  }
  return path;
}

std::string read_file(const fs::path& root, const std::string& url, const std::string& param, size_t limit) {
  std::error_code error;
  const fs::path base = fs::weakly_canonical(root, error);
  const fs::path path = fs::weakly_canonical(path_of(url), error);
  const auto [end, below] = std::mismatch(base.begin(), base.end(), path.begin(), path.end());
  // What is outside and what is not there look alike: nobody learns which files there are.
  if (error || end != base.end() || below == path.end() || !fs::is_regular_file(path, error)) {
    refuse(param, "there is no such file below the server's --media-root");
  }
  std::ifstream in(path, std::ios::binary);
  std::string bytes;
  char piece[1 << 16];
  while (in.read(piece, sizeof piece), in.gcount() > 0) {
    bytes.append(piece, static_cast<size_t>(in.gcount()));
    if (bytes.size() > limit) refuse(param, fmt::format("the image has more than {} bytes", limit));
  }
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
