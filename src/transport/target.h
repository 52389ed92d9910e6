#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mlxk {

/// A parsed request target.
struct Target {
  std::string path;       // percent-decoded
  std::string query;      // as sent
  std::string authority;  // of the absolute form ("http://host:1/x"); empty otherwise
  std::string problem;    // the reason to refuse it; empty: none
};

/// Reads the target of a request line: a path, an absolute http(s) address, or "*". Refuses what is not valid UTF-8 or
/// not a valid escape, control characters, fragments, and "." and ".." as segments, escaped or not.
Target parse_target(std::string_view text);

/// The text with its escapes (%41) resolved; nullopt for a '%' without two hexadecimal digits.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace mlxk
