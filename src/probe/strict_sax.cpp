#include "probe/strict_sax.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {

std::string shown(std::string_view text) {
  constexpr size_t kLimit = 100;
  std::string result = "\"";
  for (const char c : text.substr(0, kLimit)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  // The cut may fall into a character: drop its beginning.
  if (text.size() > kLimit) {
    while (!result.empty() && (static_cast<unsigned char>(result.back()) & 0xc0) == 0x80) result.pop_back();
    if (static_cast<unsigned char>(result.back()) >= 0xc0) result.pop_back();
    result += "…";
  }
  return result + "\"";
}

void StrictSax::fail(std::string_view message) const {
  throw Error(ErrorKind::bad_model, fmt::format("{}: {}", place_, message));
}

bool StrictSax::unexpected(const std::string& what) const { fail(fmt::format("{}: unexpected {}", where(), what)); }

bool StrictSax::parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) {
  fail(fmt::format("invalid JSON at byte {}", byte));
}

}  // namespace mlxk
