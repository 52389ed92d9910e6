// The hub's listing of a repository's files, which may be hostile.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "hub/hub_client.h"
#include "hub/repo_id.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

namespace {

constexpr size_t kMaxFiles = 100'000, kMaxPath = 2048, kMaxComponent = 255;
constexpr uint64_t kMaxSize = uint64_t{1} << 50;

[[noreturn]] void refuse(const std::string& path, const char* what) {
  std::string shown = Json(path).dump(-1, ' ', true, Json::error_handler_t::replace);
  if (shown.size() > 200) shown = shown.substr(0, 200) + "…";
  throw Error(ErrorKind::bad_model, fmt::format("the hub lists a file {} {}; nothing was written", shown, what));
}

void check_path(const std::string& path) {
  if (path.empty()) refuse(path, "without a name");
  if (path.front() == '/') refuse(path, "with an absolute path");
  if (path.size() > kMaxPath) refuse(path, "with too long a path");
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) refuse(path, "with a control character in its name");
    if (c == '\\') refuse(path, "with a backslash in its name");
  }
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = std::string_view(path).substr(start, end - start);
    if (part.empty() || part == "." || part == "..") refuse(path, "with a path that is not plain");
    if (part.size() > kMaxComponent) refuse(path, "with too long a name");
    start = end + 1;
  }
}

uint64_t size_of(const Json& entry, const std::string& path) {
  const auto found = entry.find("size");
  if (found == entry.end() || !found->is_number_unsigned() || found->get<uint64_t>() > kMaxSize) {
    refuse(path, "without a sensible size");
  }
  return found->get<uint64_t>();
}

/// Hashes become file names.
std::string hash_of(const Json& entry, const char* key, size_t length, const std::string& path) {
  std::string hash = string_at(entry, key);
  if (hash.size() != length || !is_hex(hash)) refuse(path, "without a proper hash");
  for (char& c : hash) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  return hash;
}

}  // namespace

void read_tree_page(const Json& page, std::vector<HubFile>& files) {
  if (!page.is_array()) throw Error(ErrorKind::bad_model, "the hub's listing of files is not a list");
  for (const Json& entry : page) {
    if (!entry.is_object() || string_at(entry, "type") != "file") continue;  // folders show in their files' paths
    HubFile file;
    file.path = string_at(entry, "path");
    check_path(file.path);
    file.size = size_of(entry, file.path);
    file.git_hash = hash_of(entry, "oid", 40, file.path);
    if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
      file.sha256 = hash_of(*lfs, "oid", 64, file.path);
      file.size = size_of(*lfs, file.path);
    }
    if (const std::string xet = string_at(entry, "xetHash"); xet.size() == 64 && is_hex(xet)) file.xet_hash = xet;
    if (files.size() == kMaxFiles) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("the hub lists more than {} files; nothing was written", kMaxFiles));
    }
    files.push_back(std::move(file));
  }
}

void check_tree(std::vector<HubFile>& files) {
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  const auto has = [&](const std::string& path) {
    const auto found =
        std::lower_bound(files.begin(), files.end(), path,
                         [](const HubFile& file, const std::string& wanted) { return file.path < wanted; });
    return found != files.end() && found->path == path;
  };
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string& path = files[i].path;
    if (i > 0 && path == files[i - 1].path) refuse(path, "twice");
    for (size_t slash = path.find('/'); slash != path.npos; slash = path.find('/', slash + 1)) {
      if (has(path.substr(0, slash))) refuse(path, "below what is a file itself");
    }
  }
}

}  // namespace mlxk
