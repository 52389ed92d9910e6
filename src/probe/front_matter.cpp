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

/// The README of a model; empty: it has none that can be read.
std::string readme_of(const ModelFiles& files) {
  if (!files.has("README.md")) return {};
  try {
    return read_file(files.folder() / "README.md", kMaxReadmeBytes);
  } catch (const Error&) {
    return {};
  }
}

}  // namespace

std::vector<std::string> front_matter_values(std::string_view readme, std::string_view key) {
  std::vector<std::string> values;
  const auto add = [&](std::string_view text) {
    if (std::string value = trimmed(text); !value.empty()) values.push_back(std::move(value));
  };
  if (trimmed(take_line(readme)) != "---") return values;
  bool wanted = false;  // the key before is `key`
  while (!readme.empty()) {
    const std::string_view line = take_line(readme);
    const std::string text = trimmed(line);
    if (text == "---") break;
    if (text.starts_with("-")) {  // an item of a block list
      if (wanted) add(std::string_view(text).substr(1));
      continue;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    wanted = plain(line.substr(0, colon)) == key;
    if (!wanted) continue;
    std::string_view list = line.substr(colon + 1);  // "[a, b]", "a" or "a, b"
    while (!list.empty()) {
      const size_t end = list.find_first_of("[],");
      add(list.substr(0, end));
      list.remove_prefix(end == list.npos ? list.size() : end + 1);
    }
  }
  return values;
}

std::vector<std::string> front_matter_values(const ModelFiles& files, std::string_view key) {
  return front_matter_values(readme_of(files), key);
}

bool front_matter_says_mlx(std::string_view readme) {
  const auto says = [&](std::string_view key) {
    const auto values = front_matter_values(readme, key);
    return std::any_of(values.begin(), values.end(), [](const std::string& one) { return lower_case(one) == "mlx"; });
  };
  return says("tags") || says("library_name");
}

bool front_matter_says_mlx(const ModelFiles& files) { return front_matter_says_mlx(readme_of(files)); }

std::string base_model_of(const ModelFiles& files) {
  const auto values = front_matter_values(files, "base_model");
  return values.empty() ? "" : values.front();
}

}  // namespace mlxk
