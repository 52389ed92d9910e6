#include "base/side_file.h"

#include <algorithm>
#include <array>
#include <string>

namespace mlxk {

namespace {

// Compared in lower case, because Windows and macOS ignore case in names.
constexpr std::array<std::string_view, 17> kNames = {
    ".ds_store",  ".localized",  ".apdisk",         ".appledouble", ".spotlight-v100",
    ".trashes",   ".fseventsd",  ".temporaryitems", "__macosx",     "icon\r",
    "thumbs.db",  "ehthumbs.db", "desktop.ini",     "$recycle.bin", "system volume information",
    ".directory", "lost+found"};

bool has_suffix_tmp(std::string_view name) {
  // "x.tmp", and "x.tmp.Ab12Cd" as mkstemp names it.
  const size_t at = name.rfind(".tmp");
  return at != name.npos && (at + 4 == name.size() || name[at + 4] == '.');
}

}  // namespace

bool is_side_file(std::string_view name) {
  if (name.starts_with("._") || name.starts_with("~$") || name.starts_with(".#") || name.starts_with(".~")) return true;
  std::string lower(name);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.ends_with('~') || has_suffix_tmp(lower)) return true;
  if (lower.starts_with('.') && (lower.ends_with(".swp") || lower.ends_with(".swo"))) return true;
  return std::find(kNames.begin(), kNames.end(), lower) != kNames.end();
}

}  // namespace mlxk
