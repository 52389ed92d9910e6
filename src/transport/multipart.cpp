#include "transport/multipart.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/error.h"
#include "transport/control.h"

namespace mlxk {
namespace {

constexpr size_t kMaxBoundary = 70;  // RFC 2046
constexpr std::string_view kToken = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kBoundary = "'()+_,-./:=? 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return result;
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// A header's value with its parameters: `form-data; name="a"`.
struct Value {
  std::string word;                               // in lower case
  std::map<std::string, std::string> parameters;  // names in lower case
};

// nullopt: malformed, or a parameter occurs twice.
std::optional<Value> parse_value(std::string_view text) {
  Value value;
  size_t at = text.find(';');
  value.word = lower(trim(text.substr(0, at)));
  while (at < text.size()) {
    ++at;
    const size_t begin = text.find_first_not_of(" \t", at);
    if (begin == std::string_view::npos) break;
    const size_t end = std::min(text.find_first_not_of(kToken, begin), text.size());
    if (end == begin || end >= text.size() || text[end] != '=') return std::nullopt;
    std::string content;
    at = end + 1;
    if (at < text.size() && text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\' && at + 1 < text.size() && (text[at + 1] == '"' || text[at + 1] == '\\')) ++at;
        content += text[at];
      }
      if (at >= text.size()) return std::nullopt;
      at = text.find_first_not_of(" \t", at + 1);
    } else {
      const size_t stop = std::min(text.find(';', at), text.size());
      content = trim(text.substr(at, stop - at));
      at = stop;
    }
    if (at < text.size() && text[at] != ';') return std::nullopt;
    if (!value.parameters.emplace(lower(text.substr(begin, end - begin)), std::move(content)).second)
      return std::nullopt;
  }
  return value;
}

// For messages: short, and without control characters.
std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, 80)) result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return result + (text.size() > 80 ? "…\"" : "\"");
}

// RFC 7578, 4.2: only the last component of a client's path counts; a component that means a folder is not a name.
std::string last_part(std::string_view path) {
  path.remove_prefix(path.find_last_of("/\\") + 1);
  return path == "." || path == ".." ? std::string() : std::string(path);
}

}  // namespace

MultipartParser::MultipartParser(std::string_view content_type, PartSink& parts, MultipartLimits limits)
    : parts_(parts), limits_(limits) {
  const auto value = parse_value(content_type);
  if (!value || value->word != "multipart/form-data") {
    throw Error(ErrorKind::usage, "[Content-Type] must be multipart/form-data, got " + in_quotes(content_type));
  }
  const auto boundary = value->parameters.find("boundary");
  if (boundary == value->parameters.end() || boundary->second.empty()) {
    throw Error(ErrorKind::usage, "[Content-Type] of multipart/form-data must name a boundary");
  }
  const std::string& mark = boundary->second;
  if (mark.size() > kMaxBoundary || mark.find_first_not_of(kBoundary) != std::string::npos || mark.back() == ' ') {
    throw Error(ErrorKind::usage,
                "[Content-Type] boundary must be 1 to 70 of the characters allowed, got " + in_quotes(mark));
  }
  delimiter_ = "\r\n--" + mark;
  buffer_ = "\r\n";  // the first boundary may be at the very beginning
}

void MultipartParser::take(std::string_view bytes) {
  if (state_ == State::epilogue) return;
  buffer_.append(bytes);
  while (step()) {
  }
  buffer_.erase(0, used_);
  used_ = 0;
}

void MultipartParser::finish() {
  if (state_ == State::epilogue) return;
  if (count_ == 0)
    throw Error(ErrorKind::usage, "[multipart] the body holds no boundary " + in_quotes(delimiter_.substr(4)));
  fail("ends before its boundary");
}

// Consumes some of the buffer; false: more is needed, or everything is done.
bool MultipartParser::step() {
  switch (state_) {
    case State::preamble:
    case State::data: return skip_to_delimiter();
    case State::boundary: return read_boundary_end();
    case State::headers: return read_headers();
    case State::epilogue: break;
  }
  return false;
}

bool MultipartParser::skip_to_delimiter() {
  const std::string_view rest = std::string_view(buffer_).substr(used_);
  const size_t found = rest.find(delimiter_);
  // Without a boundary, bytes that could be its beginning are kept.
  const size_t before = found != std::string_view::npos    ? found
                        : rest.size() >= delimiter_.size() ? rest.size() - delimiter_.size() + 1
                                                           : 0;
  if (state_ == State::data && before > 0) parts_.take(rest.substr(0, before));
  used_ += before;
  if (found == std::string_view::npos) return false;
  used_ += delimiter_.size();
  if (state_ == State::data) parts_.end();
  state_ = State::boundary;
  return true;
}

bool MultipartParser::read_boundary_end() {
  const std::string_view rest = std::string_view(buffer_).substr(used_);
  if (rest.size() < 2) return false;
  if (rest[0] == '-' && rest[1] == '-') {
    state_ = State::epilogue;
    used_ = buffer_.size();
    return false;
  }
  const size_t end = std::min(rest.find_first_not_of(" \t"), rest.size());
  if (end > limits_.header_bytes) fail("is followed by a boundary whose line does not end");
  if (end + 1 >= rest.size()) return false;
  if (rest[end] != '\r' || rest[end + 1] != '\n') fail("is followed by a boundary whose line goes on");
  if (++count_ > limits_.parts) {
    throw Error(ErrorKind::usage, fmt::format("[multipart] may have {} parts, got more", limits_.parts));
  }
  used_ += end;  // the line's end is kept: it may be the one that ends empty headers
  state_ = State::headers;
  return true;
}

bool MultipartParser::read_headers() {
  const std::string_view rest = std::string_view(buffer_).substr(used_);
  const size_t end = rest.find("\r\n\r\n");
  if (end == std::string_view::npos ? rest.size() >= limits_.header_bytes + 4 : end > limits_.header_bytes) {
    fail(fmt::format("may have {} bytes of headers, got more", limits_.header_bytes));
  }
  if (end == std::string_view::npos) return false;
  const PartHead head = parse_headers(rest.substr(0, end + 2));
  used_ += end + 4;
  state_ = State::data;
  parts_.begin(head);
  return true;
}

// `text`: lines, each with CR LF before and after.
PartHead MultipartParser::parse_headers(std::string_view text) const {
  PartHead head;
  bool disposed = false;
  for (size_t at = 2; at < text.size();) {
    const size_t end = text.find("\r\n", at);
    const std::string_view line = text.substr(at, end - at);
    at = end + 2;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0 ||
        line.substr(0, colon).find_first_not_of(kToken) != std::string_view::npos) {
      fail("has a malformed header " + in_quotes(line));
    }
    const std::string name = lower(line.substr(0, colon));
    const std::string_view content = trim(line.substr(colon + 1));
    if (has_control(content)) fail("has control characters in its header " + in_quotes(name));
    if (name == "content-type") {
      head.content_type = std::string(content);
    } else if (name == "content-transfer-encoding") {
      const std::string coding = lower(content);
      if (coding != "binary" && coding != "8bit" && coding != "7bit") {
        fail("has an unknown transfer encoding " + in_quotes(coding));
      }
    } else if (name == "content-disposition") {
      const auto value = parse_value(content);
      if (disposed || !value || value->word != "form-data")
        fail("has a malformed Content-Disposition " + in_quotes(content));
      disposed = true;
      const auto field = value->parameters.find("name");
      if (field == value->parameters.end() || field->second.empty()) fail("has no name");
      head.name = field->second;
      const auto file = value->parameters.find("filename");
      head.is_file = file != value->parameters.end() || value->parameters.count("filename*") > 0;
      if (file != value->parameters.end()) head.filename = last_part(file->second);
    }
  }
  if (!disposed) fail("has no Content-Disposition");
  for (const auto& [what, text_of] : {std::pair{"name", &head.name}, std::pair{"filename", &head.filename}}) {
    if (text_of->size() > limits_.name_bytes) {
      fail(fmt::format("may have a {} of {} bytes, got {}", what, limits_.name_bytes, text_of->size()));
    }
  }
  return head;
}

void MultipartParser::fail(const std::string& what) const {
  throw Error(ErrorKind::usage, fmt::format("[multipart] part {} {}", count_, what));
}

}  // namespace mlxk
