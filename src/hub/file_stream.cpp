#include "hub/file_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "hub/repo_id.h"
#include "hub/retry.h"

namespace mlxk {

namespace {

/// Reads the number at the start of `text` and removes it; false if there is none.
bool read_number(std::string_view& text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool skip(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

/// "bytes 5-9/100" is the range that starts at `first` of a file of `size` bytes.
bool is_range(std::string_view text, uint64_t first, uint64_t size) {
  uint64_t from = 0, to = 0, total = 0;
  if (!skip(text, "bytes ") || !read_number(text, from) || !skip(text, "-") || !read_number(text, to) ||
      !skip(text, "/")) {
    return false;
  }
  if (from != first || to < from || to >= size) return false;
  return text == "*" || (read_number(text, total) && total == size);
}

/// W/"abc" and "abc" → abc; empty unless it is a hash like the hub's.
std::string plain_etag(std::string_view etag) {
  skip(etag, "W/");
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') etag = etag.substr(1, etag.size() - 2);
  return (etag.size() == 40 || etag.size() == 64) && is_hex(etag) ? std::string(etag) : std::string{};
}

}  // namespace

FileStream::FileStream(const HubClient& hub, const HubRepo& repo, const HubFile& file, PartialFile& partial,
                       size_t piece, bool alone)
    : hub_(hub), repo_(repo), file_(file), partial_(partial), piece_(piece), alone_(alone) {}

bool FileStream::refuse(std::string problem) {
  problem_ = std::move(problem);
  return false;
}

bool FileStream::see_head(const HttpReply& response) {
  if (response.status != 200 && response.status != 206) return true;
  // The hub's own ETag is on its redirect; that of another host is irrelevant.
  std::string etag = plain_etag(header_value(response.first_headers, "X-Linked-Etag"));
  if (etag.empty() && !response.redirected) etag = plain_etag(header_value(response.headers, "ETag"));
  // An ETag of another form is not the hub's: a mirror may have its own. The hash decides in the end.
  if (etag.size() == file_.etag().size() && etag != file_.etag())
    return refuse("the hub now has another content than it listed");
  const std::string encoding = header_value(response.headers, "Content-Encoding");
  if (!encoding.empty() && encoding != "identity") return refuse(fmt::format("the content is encoded as {}", encoding));
  if (response.status == 206) {
    const std::string range = header_value(response.headers, "Content-Range");
    if (!is_range(range, at_, file_.size))
      return refuse(fmt::format("the server sent the range '{}' instead of the requested one", range));
  } else {
    const std::string length = header_value(response.headers, "Content-Length");
    if (!length.empty() && length != std::to_string(file_.size)) {
      return refuse(fmt::format("the server sends {} bytes, the hub listed {}", length, file_.size));
    }
    whole_ = true;
    at_ = 0;
  }
  if (on_ranges && alone_) on_ranges(!whole_);
  return true;
}

bool FileStream::take(std::string_view data) {
  while (!data.empty()) {
    if (at_ >= file_.size)
      return refuse(fmt::format("the server sends more than the {} bytes that the hub listed", file_.size));
    const size_t piece = partial_.piece_of(at_);
    const bool ours = piece == piece_ || (whole_ && alone_);
    if (!ours && piece > piece_) return false;  // the piece is complete
    const uint64_t position = at_ - partial_.begin(piece);
    const uint64_t had = ours ? partial_.done(piece) : partial_.length(piece);
    uint64_t part;
    if (position < had) {
      part = std::min<uint64_t>(data.size(), had - position);
    } else {
      part = std::min<uint64_t>(data.size(), partial_.length(piece) - position);
      partial_.append(piece, data.substr(0, part));
      received_ += part;
      on_bytes(part);
    }
    at_ += part;
    data.remove_prefix(part);
  }
  return true;
}

HttpReply FileStream::receive(HttpClient& http, std::function<bool()> cancelled) {
  HttpCall request = hub_.file_request(repo_, file_);
  at_ = partial_.begin(piece_) + partial_.done(piece_);
  const uint64_t end = partial_.begin(piece_) + partial_.length(piece_);
  if (at_ > 0 || end < file_.size) request.headers.push_back(fmt::format("Range: bytes={}-{}", at_, end - 1));
  request.on_head = [this](const HttpReply& response) { return see_head(response); };
  request.on_data = [this](std::string_view data) { return take(data); };
  request.cancelled = std::move(cancelled);
  const HttpReply response = http.send(request);
  if (response.cancelled || complete() || !problem_.empty() || is_worth_retrying(response)) return response;
  if (!response.failure.empty()) {
    throw Error(ErrorKind::network,
                without_token(fmt::format("{}: {}", file_.path, response.failure), hub_.settings()));
  }
  // Another host may refuse because the link has expired: the hub issues a new one.
  if (response.ok() || response.other_origin || response.status == 416) return response;
  if (response.status == 404) {
    throw Error(ErrorKind::network, fmt::format("{}: the hub lists this file but does not have it", file_.path));
  }
  hub_.refuse(response, repo_.name, repo_.commit);
}

bool FileStream::complete() const {
  if (!problem_.empty()) return false;
  if (whole_ && alone_) return partial_.complete();
  return partial_.done(piece_) == partial_.length(piece_);
}

std::string FileStream::problem(const HttpReply& response) const {
  if (!problem_.empty()) return problem_;
  if (!response.failure.empty()) return response.failure;
  if (!response.ok()) return fmt::format("{} answers {}{}", response.host, response.status, asked_wait(response));
  return fmt::format("{} closed the connection too early", response.host);
}

}  // namespace mlxk
