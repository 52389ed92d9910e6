#include "hub/local_paths.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file.h"
#include "json/json.h"

namespace mlxk {

namespace {

constexpr uint64_t kMaxBytes = uint64_t{4} << 20;

/// Whether `key` is a member that transformers or mlxk may set to a path.
bool may_hold_path(std::string_view key) {
  constexpr std::array<std::string_view, 5> kEndings = {"name_or_path", "source_repo", "_file", "_path", "_dir"};
  return std::any_of(kEndings.begin(), kEndings.end(), [&](auto ending) { return key.ends_with(ending); });
}

bool is_local_path(std::string_view text) {
  const bool drive = text.size() > 2 && text[1] == ':' && (text[2] == '\\' || text[2] == '/');
  return drive || text.starts_with("/") || text.starts_with("~/") || text.starts_with("./") || text.starts_with("../");
}

/// Removes such members from `value` at any depth; returns whether there were any.
bool remove_paths(Json& value) {
  bool removed = false;
  if (value.is_array()) {
    for (Json& item : value) removed = remove_paths(item) || removed;
  }
  if (!value.is_object()) return removed;
  for (auto it = value.begin(); it != value.end();) {
    if (it->is_string() && may_hold_path(it.key()) && is_local_path(it->get_ref<const std::string&>())) {
      it = value.erase(it);
      removed = true;
    } else {
      removed = remove_paths(*it++) || removed;
    }
  }
  return removed;
}

}  // namespace

std::optional<std::string> without_local_paths(const fs::path& path) {
  std::error_code error;
  if (path.extension() != ".json" || fs::file_size(path, error) > kMaxBytes || error) return std::nullopt;
  try {
    Json document = read_json(path);
    if (!document.is_object() || !remove_paths(document)) return std::nullopt;
    return dump_json(document);
  } catch (const Error&) {
    return std::nullopt;  // not JSON: pushed unchanged
  }
}

}  // namespace mlxk
