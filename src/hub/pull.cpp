#include "hub/pull.h"

#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "hub/cache.h"
#include "hub/locks.h"
#include "hub/snapshot_writer.h"

namespace mlxk {

namespace {

constexpr const char* kCommunity = "mlx-community/";

bool matches_any(const std::string& path, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    const std::string pattern = glob.ends_with('/') ? glob + "*" : glob;  // as huggingface_hub: "*" also matches "/"
    return fnmatch(pattern.c_str(), path.c_str(), 0) == 0;
  });
}

/// Free bytes of the disk of `path`, which may not exist yet; 0: unknown.
uint64_t free_bytes(fs::path path) {
  struct statvfs info;
  while (statvfs(path.c_str(), &info) != 0) {
    if (!path.has_parent_path() || path == path.parent_path()) return 0;
    path = path.parent_path();
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

HubRepo find_repo(HubClient& hub, const RepoSpec& spec) {
  try {
    return hub.repo(spec.name, spec.revision);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::denied || spec.name.find('/') != spec.name.npos) throw;
    try {
      return hub.repo(kCommunity + spec.name, spec.revision);
    } catch (const Error& second) {
      if (second.kind() != ErrorKind::denied) throw;
    }
    throw;
  }
}

/// One file for each content: two names of the same content share a blob.
std::vector<HubFile> distinct(const std::vector<HubFile>& files) {
  std::vector<HubFile> contents;
  std::set<std::string> seen;
  for (const auto& file : files) {
    if (seen.insert(file.etag()).second) contents.push_back(file);
  }
  // Small files first: configuration and tokenizer arrive at once, and the large files get all connections at the
  // end.
  std::stable_sort(contents.begin(), contents.end(), [](const auto& a, const auto& b) { return a.size < b.size; });
  return contents;
}

void make_cache_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", path.string(), error.message()));
}

/// Held while a pull runs, so that rm sees it; the destructor removes its file.
class PullMark {
 public:
  explicit PullMark(const fs::path& locks)
      : path_(locks / fmt::format("mlxk-pull-{}.lock", getpid())), lock_(FileLock::try_lock(path_, true)) {}
  ~PullMark() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

 private:
  fs::path path_;
  FileLock lock_;
};

}  // namespace

fs::path PullPlan::repo_folder() const { return cache / mlxk::repo_folder(repo.name); }
fs::path PullPlan::locks() const { return cache / ".locks" / mlxk::repo_folder(repo.name); }

std::string expand_repo_name(const std::string& typed, const fs::path& cache) {
  if (typed.find('/') != typed.npos) return typed;
  std::error_code error;
  const std::string full = kCommunity + typed;
  return fs::is_directory(cache / repo_folder(full), error) ? full : typed;
}

PullPlan plan_pull(HubClient& hub, const PullRequest& request) {
  PullPlan plan;
  plan.repo = find_repo(hub, request.repo);
  plan.cache = request.cache;
  // A commit, or the start of one, is not stored as a ref.
  const std::string revision = request.repo.revision.empty() ? "main" : request.repo.revision;
  if (!(is_hex(revision) && revision.size() >= 7 && plan.repo.commit.starts_with(revision))) plan.revision = revision;
  plan.all = hub.tree(plan.repo);
  for (const auto& file : plan.all) {
    if (!request.include.empty() && !matches_any(file.path, request.include)) continue;
    if (!matches_any(file.path, request.exclude)) plan.files.push_back(file);
  }
  if (plan.files.empty()) {
    throw Error(ErrorKind::not_found,
                plan.all.empty() ? fmt::format("'{}' holds no files", plan.repo.name)
                                 : fmt::format("--include and --exclude select no file of '{}'", plan.repo.name));
  }
  if (plan.repo.gated) hub.check_access(plan.repo, plan.files.front());
  const fs::path blobs = plan.repo_folder() / "blobs";
  for (const auto& file : plan.files) {
    const bool placed = has_file(plan.repo_folder(), plan.repo.commit, file);
    plan.at_hand.push_back(placed ? file.size : bytes_at_hand(blobs, file));
    if (!placed) plan.needed.push_back(file);
  }
  plan.needed = distinct(plan.needed);
  for (const auto& file : distinct(plan.files)) plan.total_bytes += file.size;
  for (const auto& file : plan.needed) plan.missing_bytes += file.size - bytes_at_hand(blobs, file);
  plan.free_bytes = free_bytes(fs::absolute(plan.cache));
  return plan;
}

PullResult run_pull(const HubClient& hub, const PullPlan& plan, const DownloadOptions& options) {
  if (!plan.fits_disk()) {
    throw Error(ErrorKind::io, fmt::format("{} needs {} more bytes on the disk of {}, which has {}", plan.repo.name,
                                           plan.missing_bytes, plan.cache.string(), plan.free_bytes));
  }
  if (plan.missing_bytes == 0 && is_written(plan.repo_folder(), plan.repo, plan.files, plan.revision)) {
    return {plan.repo_folder() / "snapshots" / plan.repo.commit, 0};  // nothing to write, so the cache may be read-only
  }
  make_cache_folder(plan.repo_folder() / "blobs");
  make_cache_folder(plan.locks());
  const PullMark mark(plan.locks());
  PullResult result;
  result.received_bytes = download_blobs(hub, plan.repo, plan.needed, plan.repo_folder(), plan.locks(), options);
  result.snapshot = write_snapshot(plan.repo_folder(), plan.locks(), plan.repo, plan.files, plan.all, plan.revision);
  return result;
}

}  // namespace mlxk
