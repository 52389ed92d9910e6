// The files of a folder that are pushed, and their differences from a branch.
#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "hub/cache.h"
#include "hub/local_paths.h"
#include "hub/push.h"

namespace mlxk {

namespace {

constexpr std::array<std::string_view, 6> kIgnored = {".git",        ".hfignore", ".gitignore",
                                                      "__pycache__", ".venv",     "venv"};

std::vector<std::string> ignored_by(const fs::path& folder) {
  std::vector<std::string> globs;
  std::error_code error;
  if (!fs::exists(folder / ".hfignore", error)) return globs;
  const std::string text = read_file(folder / ".hfignore", uint64_t{1} << 20);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    at = end + 1;
    const size_t first = line.find_first_not_of(" \t\r"), last = line.find_last_not_of(" \t\r");
    if (first == line.npos || line[first] == '#') continue;
    line = line.substr(first, last - first + 1);
    globs.push_back(line.ends_with('/') ? line + "*" : line);  // as huggingface_hub reads it
  }
  return globs;
}

bool is_ignored(const fs::path& relative, const std::vector<std::string>& globs) {
  for (const auto& part : relative) {
    if (is_side_file(part.string())) return true;
    if (std::find(kIgnored.begin(), kIgnored.end(), part.string()) != kIgnored.end()) return true;
  }
  return relative.extension() == ".pyc" || std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
           return fnmatch(glob.c_str(), relative.generic_string().c_str(), 0) == 0;
         });
}

bool same_content(const HubFile& remote, const LocalFile& local) {
  if (remote.size != local.size) return false;
  return remote.sha256.empty() ? remote.git_hash == local.git_hash : remote.sha256 == local.sha256;
}

/// Whether the repository exists and this token can see it.
bool repo_exists(HubClient& hub, const std::string& name) {
  const HttpReply response = hub.send(hub.api_request("/api/models/" + url_encode(name, true)));
  if (response.ok()) return true;
  if (response.status == 404) return false;
  hub.refuse(response, name, "");
}

}  // namespace

std::vector<fs::path> files_to_push(const fs::path& folder) {
  const std::vector<std::string> globs = ignored_by(folder);
  const fs::path home = fs::canonical(folder);
  std::vector<fs::path> files;
  for (auto it = fs::recursive_directory_iterator(folder); it != fs::recursive_directory_iterator(); ++it) {
    check_nesting(it);
    const fs::path relative = it->path().lexically_relative(folder);
    if (is_ignored(relative, globs)) {
      if (it->is_directory() && !it->is_symlink()) it.disable_recursion_pending();
      continue;
    }
    std::error_code error;
    if (fs::is_directory(it->symlink_status())) continue;
    const fs::path real = fs::canonical(it->path(), error);
    if (error || !is_within(real, home) || !fs::is_regular_file(real)) {
      throw Error(ErrorKind::bad_model, fmt::format("{} is not a file of the folder", it->path().string()));
    }
    files.push_back(relative);
  }
  std::sort(files.begin(), files.end());
  return files;
}

PushPlan plan_push(HubClient& hub, const PushRequest& request, const PushProgress& progress) {
  PushPlan plan{.request = request};
  const std::vector<fs::path> paths = files_to_push(request.folder);
  std::map<std::string, HubFile> remote;
  plan.repo_exists = repo_exists(hub, request.repo);
  if (plan.repo_exists) {
    try {
      const HubRepo branch = hub.repo(request.repo, request.branch);
      plan.branch_exists = true;
      plan.parent_commit = branch.commit;
      for (auto& file : hub.tree(branch)) remote[file.path] = std::move(file);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::no_revision) throw;
    }
  }
  uint64_t total = 0, done = 0;
  for (const auto& path : paths) total += fs::file_size(request.folder / path);
  for (const auto& path : paths) {
    const auto known = remote.find(path.generic_string());
    const bool by_git_hash = known != remote.end() && known->second.sha256.empty();
    const auto on_bytes = [&](uint64_t bytes) {
      done += bytes;
      if (progress) progress("reading", done, total);
    };
    auto content = without_local_paths(request.folder / path);
    const FileHashes hashes = content ? hash_bytes(*content) : hash_file(request.folder / path, by_git_hash, on_bytes);
    LocalFile local{path.generic_string(), hashes.size, hashes.sha256, hashes.git_hash, std::move(content)};
    if (known == remote.end()) {
      plan.added.push_back(std::move(local));
      continue;
    }
    if (same_content(known->second, local)) {
      ++plan.unchanged;
    } else {
      plan.modified.push_back(std::move(local));
    }
    remote.erase(known);
  }
  for (const auto& [path, file] : remote) {
    if (path != ".gitattributes") plan.absent.push_back(path);  // the hub's own
  }
  return plan;
}

}  // namespace mlxk
