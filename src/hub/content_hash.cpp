#include "hub/content_hash.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/timestamp.h"
#include "hub/workspace.h"
#include "json/json.h"

namespace mlxk {

namespace {

constexpr uint64_t kMaxHashedBytes = uint64_t{1} << 30;  // larger files count by name and size
constexpr uint64_t kMaxHeaderBytes = uint64_t{100} << 20;

/// SHA-256 in the form of workspaces.
class Sha256 {
 public:
  Sha256& add(std::string_view bytes) {
    digest_.add(bytes);
    return *this;
  }
  /// "sha256:<64 hex>"
  std::string text() { return "sha256:" + digest_.hex(); }

 private:
  Digest digest_{Digest::Kind::sha256};
};

/// Adds `bytes` bytes of `in`; false if there are fewer.
bool add_bytes(Sha256& hash, std::istream& in, uint64_t bytes) {
  std::vector<char> buffer(size_t{1} << 16);
  while (bytes > 0) {
    in.read(buffer.data(), static_cast<std::streamsize>(std::min<uint64_t>(bytes, buffer.size())));
    const auto got = static_cast<uint64_t>(in.gcount());
    if (got == 0) return false;
    hash.add({buffer.data(), got});
    bytes -= got;
  }
  return true;
}

using Sha = std::optional<std::string>;

Sha hash_safetensors(std::istream& in) {
  std::array<unsigned char, 8> prefix{};
  if (!in.read(reinterpret_cast<char*>(prefix.data()), prefix.size())) return std::nullopt;
  uint64_t length = 0;
  for (size_t i = 0; i < prefix.size(); ++i) length |= uint64_t{prefix[i]} << (8 * i);
  if (length == 0 || length > kMaxHeaderBytes) return std::nullopt;
  Sha256 hash;
  return add_bytes(hash, in, length) ? Sha(hash.text()) : std::nullopt;
}

Sha hash_file(const fs::path& path, uint64_t size) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return std::nullopt;
  if (path.extension() == ".safetensors") return hash_safetensors(in);
  Sha256 hash;
  if (size > kMaxHashedBytes) {
    return hash.add(path.filename().string()).add({"\0", 1}).add(std::to_string(size)).text();
  }
  return add_bytes(hash, in, size) ? Sha(hash.text()) : std::nullopt;
}

/// Hashes the target of a link, which must be in the workspace; links are never followed.
Sha hash_link(const fs::path& path, const fs::path& root) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(path, error);
  const std::string target = error ? ".." : real.lexically_relative(root).generic_string();
  if (target.empty() || target == ".." || target.starts_with("../")) return std::nullopt;
  return Sha256().add({"SYMLINK\0", 8}).add(target).text();
}

bool is_excluded(const std::string& name, bool folder, const std::vector<std::string>& exclusions) {
  return std::any_of(exclusions.begin(), exclusions.end(), [&](const std::string& rule) {
    if (rule.ends_with('/')) return folder && name == rule.substr(0, rule.size() - 1);
    return !folder && fnmatch(rule.c_str(), name.c_str(), 0) == 0;
  });
}

struct FoundEntry {
  HashedFile file;  // without sha
  bool is_link = false;
};

/// Every file and link of the workspace except the excluded ones, sorted by path; none if a folder is unreadable or
/// nested too deep.
std::optional<std::vector<FoundEntry>> walk(const fs::path& root, const std::vector<std::string>& exclusions) {
  std::vector<FoundEntry> found;
  std::error_code error;
  fs::recursive_directory_iterator it(root, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    struct stat info{};
    if (it.depth() >= kMaxNesting) return std::nullopt;
    if (lstat(it->path().c_str(), &info) != 0) return std::nullopt;
    const bool folder = S_ISDIR(info.st_mode);
    if (is_excluded(it->path().filename().string(), folder, exclusions)) {
      if (folder) it.disable_recursion_pending();
      continue;
    }
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode)) continue;
#ifdef __APPLE__
    const timespec time = info.st_mtimespec;
#else
    const timespec time = info.st_mtim;
#endif
    found.push_back({{it->path().lexically_relative(root).generic_string(), static_cast<uint64_t>(info.st_size),
                      int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec, ""},
                     S_ISLNK(info.st_mode)});
  }
  if (error) return std::nullopt;
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.file.path < b.file.path; });
  return found;
}

Sha hash_found(const FoundEntry& found, const fs::path& root) {
  const fs::path path = root / found.file.path;
  return found.is_link ? hash_link(path, root) : hash_file(path, found.file.size);
}

/// A path as an index may name it: relative, with no way out of the workspace on any system.
bool is_safe_path(const std::string& path) {
  if (path.empty() || path.front() == '/' || path.find('\\') != path.npos || path.find('\0') != path.npos) return false;
  if (path.size() > 1 && path[1] == ':') return false;
  const fs::path parts(path);
  return std::none_of(parts.begin(), parts.end(), [](const fs::path& part) { return part == ".."; });
}

/// The sentinel's file_index; none when any entry is malformed.
std::optional<std::map<std::string, HashedFile>> read_index(const Json& sentinel) {
  std::map<std::string, HashedFile> index;
  const auto list = sentinel.find("file_index");
  if (list == sentinel.end() || !list->is_array()) return std::nullopt;
  for (const Json& entry : *list) {
    if (!entry.is_object()) return std::nullopt;
    const Json path = entry.value("path", Json()), size = entry.value("size", Json()),
               time = entry.value("mtime_ns", Json()), sha = entry.value("sha", Json());
    if (!path.is_string() || !size.is_number_unsigned() || !time.is_number_integer() || !sha.is_string())
      return std::nullopt;
    HashedFile file{path.get<std::string>(), size.get<uint64_t>(), time.get<int64_t>(), sha.get<std::string>()};
    if (!is_safe_path(file.path)) return std::nullopt;
    index[file.path] = std::move(file);
  }
  return index;
}

/// The exclusions frozen in the sentinel, else today's.
std::vector<std::string> exclusions_of(const Json& sentinel) {
  const auto list = sentinel.find("exclude_patterns");
  if (list == sentinel.end() || !list->is_array()) return default_exclusions();
  std::vector<std::string> rules;
  for (const Json& rule : *list) {
    if (rule.is_string()) rules.push_back(rule.get<std::string>());
  }
  return rules;
}

void heal_times(const fs::path& workspace, Json sentinel, const std::map<std::string, int64_t>& times) {
  for (Json& entry : sentinel["file_index"]) {
    if (const auto it = times.find(entry["path"].get<std::string>()); it != times.end()) entry["mtime_ns"] = it->second;
  }
  try {
    write_sentinel(workspace, sentinel);
  } catch (const Error&) {
    // A read-only workspace is hashed again each time.
  }
}

}  // namespace

const std::vector<std::string>& default_exclusions() {
  static const std::vector<std::string> rules = {".hf_cache/",
                                                 std::string(kSentinelName),
                                                 ".git/",
                                                 ".github/",
                                                 "__pycache__/",
                                                 ".vscode/",
                                                 ".idea/",
                                                 ".ipynb_checkpoints/",
                                                 ".mypy_cache/",
                                                 ".pytest_cache/",
                                                 ".ruff_cache/",
                                                 ".tox/",
                                                 "node_modules/",
                                                 ".venv/",
                                                 "venv/",
                                                 "*.lock",
                                                 "*.tmp",
                                                 "*.log",
                                                 "*.bak",
                                                 ".DS_Store",
                                                 "._*",
                                                 ".Spotlight-V100/",
                                                 ".Trashes/",
                                                 ".fseventsd/",
                                                 ".TemporaryItems/",
                                                 ".apdisk",
                                                 "Icon\r",
                                                 "Thumbs.db",
                                                 "desktop.ini",
                                                 "$RECYCLE.BIN/",
                                                 "System Volume Information/",
                                                 "*~",
                                                 ".*.swp",
                                                 ".*.swo"};
  return rules;
}

std::optional<ContentHash> hash_content(const fs::path& workspace, const std::vector<std::string>& exclusions) {
  std::error_code error;
  const fs::path root = fs::canonical(workspace, error);
  auto found = error ? std::nullopt : walk(root, exclusions);
  if (!found) return std::nullopt;
  ContentHash result;
  Sha256 all;
  for (FoundEntry& entry : *found) {
    Sha sha = hash_found(entry, root);
    if (!sha) return std::nullopt;
    entry.file.sha = *sha;
    all.add(entry.file.path).add({"\0", 1}).add(entry.file.sha);
    result.files.push_back(std::move(entry.file));
  }
  result.value = all.text();
  return result;
}

Cleanliness check_clean(const fs::path& workspace) {
  const auto sentinel = read_sentinel(workspace);
  if (!sentinel || sentinel->value("hash_algorithm", Json()) != "v2") return Cleanliness::unknown;
  const auto index = read_index(*sentinel);
  std::error_code error;
  const fs::path root = fs::canonical(workspace, error);
  if (!index || error) return Cleanliness::unknown;
  const auto found = walk(root, exclusions_of(*sentinel));
  if (!found) return Cleanliness::unknown;
  if (found->size() != index->size()) return Cleanliness::modified;
  std::map<std::string, int64_t> moved;
  for (const FoundEntry& entry : *found) {
    const auto known = index->find(entry.file.path);
    if (known == index->end() || known->second.size != entry.file.size) return Cleanliness::modified;
    if (known->second.mtime_ns == entry.file.mtime_ns) continue;
    if (hash_found(entry, root) != known->second.sha) return Cleanliness::modified;
    moved[entry.file.path] = entry.file.mtime_ns;
  }
  if (!moved.empty()) heal_times(workspace, *sentinel, moved);
  return Cleanliness::clean;
}

void set_content_hash(Json& sentinel, const ContentHash& hash, const std::vector<std::string>& exclusions) {
  sentinel["hash_algorithm"] = "v2";
  sentinel["content_hash"] = hash.value;
  sentinel["hash_modified"] = utc_now();
  sentinel["exclude_patterns"] = exclusions;
  Json index = Json::array();
  for (const auto& file : hash.files) {
    index.push_back({{"path", file.path}, {"size", file.size}, {"mtime_ns", file.mtime_ns}, {"sha", file.sha}});
  }
  sentinel["file_index"] = std::move(index);
}

void recalculate_content_hash(const fs::path& workspace) {
  auto sentinel = read_sentinel(workspace);
  if (!sentinel) {
    throw Error(ErrorKind::not_found, fmt::format("{} is not a managed workspace", workspace.string()));
  }
  const auto exclusions = exclusions_of(*sentinel);
  const auto hash = hash_content(workspace, exclusions);
  if (!hash) {
    throw Error(ErrorKind::bad_model,
                fmt::format("{} has no content hash: a broken safetensors header or a link that leaves it",
                            workspace.string()));
  }
  set_content_hash(*sentinel, *hash, exclusions);
  write_sentinel(workspace, *sentinel);
}

std::optional<std::string> hash_model(const fs::path& folder) {
  if (const auto hash = hash_content(folder)) return hash->value;
  const auto found = walk(folder, default_exclusions());
  if (!found || folder.parent_path().filename() != "snapshots") return std::nullopt;
  Sha256 all;
  for (const FoundEntry& entry : *found) {
    const fs::path path = folder / entry.file.path;
    std::error_code error;
    const Sha sha =
        entry.is_link ? Sha(fs::read_symlink(path, error).filename().string()) : hash_file(path, entry.file.size);
    if (error || !sha) return std::nullopt;
    all.add(entry.file.path).add({"\0", 1}).add(*sha).add({"\0", 1});
  }
  return all.text();
}

}  // namespace mlxk
