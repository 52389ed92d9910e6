#include "convert/json_text.h"

#include <fmt/format.h>

#include <cstdint>

#include "base/error.h"

namespace mlxk {

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const auto lead = static_cast<uint8_t>(text[at]);
    const int more = lead < 0x80                   ? 0
                     : lead >= 0xc2 && lead < 0xe0 ? 1
                     : lead >= 0xe0 && lead < 0xf0 ? 2
                     : lead >= 0xf0 && lead < 0xf5 ? 3
                                                   : -1;
    if (more < 0 || text.size() - at <= static_cast<size_t>(more)) return false;
    for (int i = 1; i <= more; ++i) {
      if ((static_cast<uint8_t>(text[at + i]) & 0xc0) != 0x80) return false;
    }
    const auto second = more > 0 ? static_cast<uint8_t>(text[at + 1]) : uint8_t{0};
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second >= 0xa0) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second >= 0x90)) {
      return false;
    }
    at += static_cast<size_t>(more) + 1;
  }
  return true;
}

void append_json_string(std::string& out, std::string_view text, std::string_view place) {
  if (!is_utf8(text)) throw Error(ErrorKind::bad_model, fmt::format("[gguf] {} is not UTF-8", place));
  out += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace mlxk
