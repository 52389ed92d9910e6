#include "hub/snapshot_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "hub/locks.h"

namespace mlxk {

namespace {

constexpr int kTreeFormat = 1;  // huggingface_hub's

[[noreturn]] void fail(const fs::path& path, int code) {
  throw Error(ErrorKind::io, fmt::format("cannot write {}: {}", path.string(), std::strerror(code)));
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail(path, error.value());
}

/// Makes the folders of `relative` below `root`, none of which may be a link that leads elsewhere.
void make_folders(const fs::path& root, const fs::path& relative) {
  fs::path folder = root;
  for (const auto& part : relative) {
    folder /= part;
    std::error_code error;
    if (fs::create_directory(folder, error)) continue;
    if (!fs::is_directory(fs::symlink_status(folder, error))) fail(folder, ENOTDIR);
  }
}

/// "../../blobs/<etag>", as deep as the link lies.
fs::path link_target(const HubFile& file) {
  std::string up = "../../";
  for (const char c : file.path) {
    if (c == '/') up += "../";
  }
  return up + "blobs/" + file.etag();
}

bool is_linked(const fs::path& folder, const HubFile& file) {
  std::error_code error;
  return fs::read_symlink(folder / file.path, error) == link_target(file) && !error;
}

/// Makes the link, in one step over whatever stands there.
void make_link(const fs::path& folder, const HubFile& file) {
  if (is_linked(folder, file)) return;
  const fs::path link = folder / file.path;
  std::error_code error;
  make_folders(folder, fs::path(file.path).parent_path());
  const fs::path temporary = folder / fs::path(file.path).parent_path() / ".mlxk-link";
  fs::remove(temporary, error);
  fs::create_symlink(link_target(file), temporary, error);
  if (error) fail(link, error.value());
  if (std::rename(temporary.c_str(), link.c_str()) != 0) fail(link, errno);
}

/// trees/<commit>.json in the form of huggingface_hub, which so knows what belongs to the snapshot without asking the
/// hub.
void write_tree(const fs::path& repo_folder, const std::string& commit, const std::vector<HubFile>& all) {
  std::string text = fmt::format("{{\n \"format_version\": {},\n \"files\": {{", kTreeFormat);
  const auto quoted = [](const std::string& word) {
    return Json(word).dump(-1, ' ', true, Json::error_handler_t::replace);
  };
  for (size_t i = 0; i < all.size(); ++i) {  // by hand: a Json object looks each new key up among all others
    const HubFile& file = all[i];
    Json entry = {{"size", file.size}, {"blob_id", file.git_hash}};
    if (!file.sha256.empty()) {
      entry["lfs_sha256"] = file.sha256;
      entry["lfs_size"] = file.size;
    }
    if (!file.xet_hash.empty()) entry["xet_hash"] = file.xet_hash;
    text += fmt::format("{}\n  {}: {}", i > 0 ? "," : "", quoted(file.path), entry.dump());
  }
  make_folder(repo_folder / "trees");
  write_file_atomic(repo_folder / "trees" / (commit + ".json"), text + "\n }\n}\n");
}

/// In one step, and never with a temporary file among the refs, where others would take it for one.
void write_ref(const fs::path& repo_folder, const std::string& revision, const std::string& commit) {
  const fs::path ref = repo_folder / "refs" / revision, temporary = repo_folder / ".mlxk-ref";
  make_folder(ref.parent_path());
  write_file_atomic(temporary, commit);
  if (std::rename(temporary.c_str(), ref.c_str()) != 0) fail(ref, errno);
}

bool is_unchanged(const fs::path& path, const std::string& content) {
  try {
    return read_file(path, 1024) == content;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

fs::path write_snapshot(const fs::path& repo_folder, const fs::path& locks, const HubRepo& repo,
                        const std::vector<HubFile>& files, const std::vector<HubFile>& all,
                        const std::string& revision) {
  const FileLock lock = wait_for_lock(locks / "mlxk-snapshot.lock", [] { return false; });
  const fs::path snapshot = repo_folder / "snapshots" / repo.commit;
  for (const auto& file : files) {
    std::error_code error;
    if (!fs::exists(repo_folder / "blobs" / file.etag(), error)) {
      throw Error(ErrorKind::io, fmt::format("{} disappeared from the cache while {} was pulled", file.path, repo.name),
                  "was the model removed meanwhile? pull it again");
    }
  }
  make_folder(snapshot.parent_path());
  std::error_code error;
  if (fs::exists(snapshot, error)) {
    for (const auto& file : files) make_link(snapshot, file);
  } else {
    const fs::path temporary = repo_folder / ".mlxk-snapshot";  // what a killed process left
    fs::remove_all(temporary, error);
    make_folder(temporary);
    for (const auto& file : files) make_link(temporary, file);
    if (std::rename(temporary.c_str(), snapshot.c_str()) != 0) {
      if (errno != EEXIST && errno != ENOTEMPTY) fail(snapshot, errno);
      for (const auto& file : files) make_link(snapshot, file);  // another program was quicker
      fs::remove_all(temporary, error);
    }
  }
  write_tree(repo_folder, repo.commit, all);
  if (!revision.empty() && !is_unchanged(repo_folder / "refs" / revision, repo.commit)) {
    write_ref(repo_folder, revision, repo.commit);
  }
  return snapshot;
}

bool is_written(const fs::path& repo_folder, const HubRepo& repo, const std::vector<HubFile>& files,
                const std::string& revision) {
  const fs::path snapshot = repo_folder / "snapshots" / repo.commit;
  return std::all_of(files.begin(), files.end(), [&](const HubFile& file) { return is_linked(snapshot, file); }) &&
         (revision.empty() || is_unchanged(repo_folder / "refs" / revision, repo.commit));
}

std::vector<HubFile> recorded_tree(const fs::path& repo_folder, const std::string& commit) {
  std::vector<HubFile> files;
  try {
    const Json tree = read_json(repo_folder / "trees" / (commit + ".json"));
    if (tree.value("format_version", 0) != kTreeFormat) return {};
    for (const auto& [path, entry] : tree.at("files").items()) {
      HubFile file{path, entry.at("size").get<uint64_t>(), entry.at("blob_id").get<std::string>(),
                   entry.value("lfs_sha256", std::string()), entry.value("xet_hash", std::string())};
      files.push_back(std::move(file));
    }
  } catch (const std::exception&) {
    return {};  // absent, broken or of another version: not known
  }
  return files;
}

}  // namespace mlxk
