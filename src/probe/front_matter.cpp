#include "probe/front_matter.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "probe/config_reader.h"

namespace mlxk {

namespace {

constexpr uint64_t kMaxReadmeBytes = uint64_t{4} << 20;

/// `text` without surrounding blanks and quotes.
std::string trimmed(std::string_view text) {
  constexpr std::string_view kAround = " \t\r'\"";
  const size_t first = text.find_first_not_of(kAround);
  if (first == text.npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(kAround) - first + 1));
}

/// trimmed() in lower case.
std::string plain(std::string_view text) { return lower_case(trimmed(text)); }

std::string_view take_line(std::string_view& text) {
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return line;
}

/// "[a, mlx]", "mlx" or "a, mlx".
bool inline_list_has_mlx(std::string_view list) {
  while (!list.empty()) {
    const size_t end = list.find_first_of("[],");
    if (plain(list.substr(0, end)) == "mlx") return true;
    list.remove_prefix(end == list.npos ? list.size() : end + 1);
  }
  return false;
}

}  // namespace

bool front_matter_says_mlx(std::string_view readme) {
  if (plain(take_line(readme)) != "---") return false;
  bool in_tags = false;
  while (!readme.empty()) {
    const std::string_view line = take_line(readme);
    const std::string text = plain(line);
    if (text == "---") return false;
    if (text.substr(0, 1) == "-") {  // an item of a block list
      if (in_tags && plain(std::string_view(text).substr(1)) == "mlx") return true;
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    const std::string key = plain(line.substr(0, colon));
    in_tags = key == "tags";
    if (in_tags && inline_list_has_mlx(line.substr(colon + 1))) return true;
    if (key == "library_name" && plain(line.substr(colon + 1)) == "mlx") return true;
  }
  return false;
}

bool front_matter_says_mlx(const ModelFiles& files) {
  if (!files.has("README.md")) return false;
  try {
    return front_matter_says_mlx(read_file(files.folder() / "README.md", kMaxReadmeBytes));
  } catch (const Error&) {
    return false;
  }
}

std::string base_model_of(const ModelFiles& files) {
  if (!files.has("README.md")) return {};
  std::string text;
  try {
    text = read_file(files.folder() / "README.md", kMaxReadmeBytes);
  } catch (const Error&) {
    return {};
  }
  std::string_view readme = text;
  if (plain(take_line(readme)) != "---") return {};
  bool in_list = false;
  while (!readme.empty()) {
    const std::string_view line = take_line(readme);
    const std::string whole = trimmed(line);
    if (whole == "---") break;
    if (in_list) return whole.starts_with("-") ? trimmed(std::string_view(whole).substr(1)) : "";
    const size_t colon = line.find(':');
    if (colon == line.npos || plain(line.substr(0, colon)) != "base_model") continue;
    const std::string value = trimmed(line.substr(colon + 1));
    if (!value.empty())
      return value.starts_with("[") ? trimmed(std::string_view(value).substr(1, value.find_first_of(",]") - 1)) : value;
    in_list = true;
  }
  return {};
}

}  // namespace mlxk
