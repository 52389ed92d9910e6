#include "transport/target.h"

#include <fmt/format.h>

#include "transport/control.h"

namespace mlxk {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Whether `text` is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = byte(i);
    const size_t length = lead < 0x80                   ? 1
                          : lead >= 0xc2 && lead < 0xe0 ? 2
                          : lead >= 0xe0 && lead < 0xf0 ? 3
                          : lead >= 0xf0 && lead < 0xf5 ? 4
                                                        : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    if (lead == 0xe0 && byte(i + 1) < 0xa0) return false;
    if (lead == 0xed && byte(i + 1) >= 0xa0) return false;
    if (lead == 0xf0 && byte(i + 1) < 0x90) return false;
    if (lead == 0xf4 && byte(i + 1) >= 0x90) return false;
    i += length;
  }
  return true;
}

bool has_dot_segment(std::string_view path) {
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view segment = path.substr(0, slash);
    if (segment == "." || segment == "..") return true;
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return false;
}

Target refused(std::string problem) {
  Target target;
  target.problem = "[request target] " + std::move(problem);
  return target;
}

}  // namespace

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

Target parse_target(std::string_view text) {
  Target target;
  if (text == "*") {
    target.path = "*";
    return target;
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (text.substr(0, scheme.size()) != scheme) continue;
    text.remove_prefix(scheme.size());
    const size_t end = text.find_first_of("/?");
    target.authority = std::string(text.substr(0, end));
    text.remove_prefix(target.authority.size());
    if (target.authority.empty()) return refused("names no host");
    break;
  }
  if (!target.authority.empty() && (text.empty() || text[0] == '?')) {
    target.path = "/";
  } else if (text.empty() || text[0] != '/') {
    return refused("must begin with '/'");
  }
  if (text.find('#') != std::string_view::npos) return refused("must not contain '#'");
  const size_t mark = text.find('?');
  if (mark != std::string_view::npos) target.query = std::string(text.substr(mark + 1));
  if (has_control(target.query)) return refused("must not contain control characters");
  if (target.path.empty()) {
    auto decoded = percent_decode(text.substr(0, mark));
    if (!decoded) return refused("'%' must be followed by two hexadecimal digits");
    target.path = std::move(*decoded);
  }
  if (has_control(target.path)) return refused("must not contain control characters");
  if (!is_utf8(target.path)) return refused("must be UTF-8");
  if (has_dot_segment(target.path)) return refused("must not contain '.' or '..' as a segment");
  return target;
}

}  // namespace mlxk
