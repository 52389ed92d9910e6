#include "server/client_text.h"

#include <algorithm>
#include <iterator>

namespace mlxk {

namespace {

constexpr size_t kMaxText = 2000;  // bytes
constexpr std::string_view kDelimiters = " \t\n'\"[](){}<>=:,;`";
constexpr std::string_view kNoFolders[] = {"v1", "api", "properties", "items", "$defs", "definitions"};

/// Whether a path begins at `at`: "/x/…" or "~/…".
bool begins_path(std::string_view text, size_t at) {
  if (at > 0 && kDelimiters.find(text[at - 1]) == text.npos) return false;
  if (text[at] == '~') return text.substr(at).starts_with("~/");
  const size_t second = text.find('/', at + 1);
  if (text[at] != '/' || second == text.npos || second == at + 1) return false;
  const std::string_view first = text.substr(at + 1, second - at - 1);
  return first.find_first_of(kDelimiters) == first.npos &&
         std::find(std::begin(kNoFolders), std::end(kNoFolders), first) == std::end(kNoFolders);
}

}  // namespace

std::string without_folders(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (!begins_path(text, at)) {
      out += text[at++];
      continue;
    }
    const size_t end = std::min(text.find_first_of(kDelimiters, at), text.size());
    const std::string_view path = text.substr(at, end - at);
    const size_t last = path.find_last_not_of('/');
    const size_t slash = path.rfind('/', last);
    out += path.substr(slash + 1, last - slash);
    at = end;
  }
  return out;
}

std::string_view cut_for_client(std::string_view text) {
  if (text.size() <= kMaxText) return text;
  size_t end = kMaxText;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace mlxk
