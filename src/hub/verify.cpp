#include "hub/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "hub/content_hash.h"
#include "hub/repo_id.h"
#include "hub/snapshot_writer.h"
#include "hub/workspace.h"
#include "json/json.h"

namespace mlxk {

namespace {

struct FoundFile {
  fs::path path;
  uint64_t size;
};

/// The files below `folder` by relative path, links followed, as a model is read. Broken links and side files are
/// skipped.
std::map<std::string, FoundFile> files_below(const fs::path& folder) {
  std::map<std::string, FoundFile> files;
  for (fs::recursive_directory_iterator it(folder), end; it != end; ++it) {
    check_nesting(it);
    std::error_code error;
    if (is_side_file(it->path().filename().string())) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file(error)) {
      files[it->path().lexically_relative(folder).generic_string()] = {it->path(), it->file_size(error)};
    }
  }
  return files;
}

/// How a file differs from the expected one; empty: not at all.
std::string difference(const HubFile& expected, const FileHashes& actual) {
  if (expected.size && expected.size != actual.size) {
    return fmt::format("{} bytes, should be {}", actual.size, expected.size);
  }
  if (!expected.sha256.empty()) {
    return expected.sha256 == actual.sha256 ? ""
                                            : fmt::format("SHA-256 {}, should be {}", actual.sha256, expected.sha256);
  }
  return expected.git_hash == actual.git_hash
             ? ""
             : fmt::format("git hash {}, should be {}", actual.git_hash, expected.git_hash);
}

}  // namespace

std::vector<HubFile> recorded_files(const ModelRef& cached) {
  std::vector<HubFile> files = recorded_tree(cached.path.parent_path().parent_path(), cached.revision);
  if (!files.empty()) return files;
  for (fs::recursive_directory_iterator it(cached.path), end; it != end; ++it) {
    check_nesting(it);
    std::error_code error;
    if (!it->is_symlink(error)) continue;
    const std::string blob = fs::read_symlink(it->path(), error).filename().string();
    HubFile file{.path = it->path().lexically_relative(cached.path).generic_string()};
    if (!is_hex(blob)) continue;
    if (blob.size() == 64) {
      file.sha256 = blob;
    } else if (blob.size() == 40) {
      file.git_hash = blob;
    } else {
      continue;
    }
    files.push_back(std::move(file));
  }
  return files;
}

std::vector<VerifiedFile> verify_files(const fs::path& folder, const std::vector<HubFile>& expected,
                                       const VerifyProgress& progress) {
  const std::map<std::string, FoundFile> files = files_below(folder);
  uint64_t total = 0, done = 0;
  for (const auto& [path, found] : files) total += found.size;
  std::map<std::string, VerifiedFile> verified;
  std::map<std::string_view, const HubFile*> wanted;
  for (const auto& file : expected) {
    verified[file.path] = {file.path, VerifiedFile::State::missing, "", 0, ""};
    wanted[file.path] = &file;
  }
  for (const auto& [path, found] : files) {
    const auto known = wanted.find(path);
    const bool by_git_hash = known != wanted.end() && known->second->sha256.empty();
    const FileHashes hashes = hash_file(found.path, by_git_hash, [&, &name = path](uint64_t bytes) {
      done += bytes;
      if (progress) progress(name, done, total);
    });
    VerifiedFile& file = verified[path];
    file = {path, VerifiedFile::State::unrecorded, "", hashes.size, hashes.sha256};
    if (known == wanted.end()) continue;
    file.reason = difference(*known->second, hashes);
    file.state = file.reason.empty() ? VerifiedFile::State::ok : VerifiedFile::State::wrong;
  }
  std::vector<VerifiedFile> result;
  for (auto& [path, file] : verified) result.push_back(std::move(file));
  return result;
}

std::vector<VerifiedFile> verify_workspace(const fs::path& workspace) {
  const auto sentinel = read_sentinel(workspace);
  const auto index = sentinel ? sentinel->find("file_index") : Json::const_iterator{};
  if (!sentinel || index == sentinel->end() || !index->is_array() ||
      sentinel->value("hash_algorithm", Json()) != "v2") {
    throw Error(ErrorKind::not_found,
                fmt::format("{} cannot be verified: it has no recorded hashes", workspace.string()),
                "give a lock file with --lock");
  }
  const auto hash = hash_content(workspace);
  if (!hash)
    throw Error(ErrorKind::bad_model,
                fmt::format("{} has a broken weight file, or a link that leaves it", workspace.string()));
  std::map<std::string, VerifiedFile> verified;
  std::map<std::string, std::pair<Json, Json>> recorded;
  for (const Json& entry : *index) {
    const Json path = entry.is_object() ? entry.value("path", Json()) : Json();
    if (!path.is_string()) continue;
    recorded[path.get<std::string>()] = {entry.value("sha", Json()), entry.value("size", Json())};
    verified[path.get<std::string>()] = {path.get<std::string>(), VerifiedFile::State::missing, "", 0, ""};
  }
  for (const auto& file : hash->files) {
    VerifiedFile& entry = verified[file.path];
    entry = {file.path, VerifiedFile::State::unrecorded, "", file.size, ""};
    const auto known = recorded.find(file.path);
    if (known == recorded.end()) continue;
    const bool same = known->second.first == file.sha && known->second.second == file.size;
    entry.state = same ? VerifiedFile::State::ok : VerifiedFile::State::wrong;
    if (!same)
      entry.reason = known->second.second == file.size
                         ? "changed"
                         : fmt::format("{} bytes, should be {}", file.size, known->second.second.dump());
  }
  std::vector<VerifiedFile> result;
  for (auto& [path, file] : verified) result.push_back(std::move(file));
  return result;
}

}  // namespace mlxk
