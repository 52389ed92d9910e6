#include "hub/snapshot_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "hub/environment.h"
#include "hub/locks.h"
#include "json/json.h"

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

/// Makes the folders of `relative` below `root`; none may be a link to elsewhere.
void make_folders(const fs::path& root, const fs::path& relative) {
  fs::path folder = root;
  for (const auto& part : relative) {
    folder /= part;
    std::error_code error;
    if (fs::create_directory(folder, error)) continue;
    if (!fs::is_directory(fs::symlink_status(folder, error))) fail(folder, ENOTDIR);
  }
}

/// "../../blobs/<etag>", as deep as the link is.
fs::path link_target(const HubFile& file) {
  std::string up = "../../";
  for (const char c : file.path) {
    if (c == '/') up += "../";
  }
  return up + "blobs/" + file.etag();
}

/// Whether the link to the blob, or the file itself where links are impossible, is in place.
bool is_placed(const fs::path& folder, const HubFile& file) {
  std::error_code error;
  const fs::path path = folder / file.path;
  if (fs::symlink_status(path, error).type() != fs::file_type::regular) {
    return fs::read_symlink(path, error) == link_target(file) && !error;
  }
  return fs::file_size(path, error) == file.size && !error;
}

/// Whether `error` is that of a file system without symbolic links (exFAT, some network disks).
bool cannot_link(const std::error_code& error) {
  return error == std::errc::operation_not_permitted || error == std::errc::operation_not_supported ||
         error == std::errc::function_not_supported || error == std::errc::not_supported;
}

/// Makes a link to `file`'s blob at `temporary`. Without links the blob moves there, as in huggingface_hub; a blob that
/// other files need is copied.
void link_or_move(const fs::path& blob, const fs::path& temporary, const HubFile& file, bool needed_again) {
  std::error_code error = std::make_error_code(std::errc::not_supported);
  if (!environment_flag("HF_HUB_DISABLE_SYMLINKS")) fs::create_symlink(link_target(file), temporary, error);
  if (!error) return;
  if (!cannot_link(error)) fail(temporary, error.value());
  error.clear();
  needed_again ? static_cast<void>(fs::copy_file(blob, temporary, error)) : fs::rename(blob, temporary, error);
  if (error) fail(temporary, error.value());
}

/// Puts `files` into `folder`, each in one step over an existing file. `shared`: other snapshots may need the blobs
/// too.
void place_files(const fs::path& blobs, const fs::path& folder, const std::vector<HubFile>& files, bool shared) {
  std::map<std::string, size_t> needed;  // by how many files of this snapshot
  for (const auto& file : files) ++needed[file.etag()];
  for (const auto& file : files) {
    if (is_placed(folder, file)) continue;
    const fs::path path = folder / file.path;
    make_folders(folder, fs::path(file.path).parent_path());
    const fs::path temporary = path.parent_path() / ".mlxk-link";
    std::error_code error;
    fs::remove(temporary, error);
    link_or_move(blobs / file.etag(), temporary, file, shared || --needed[file.etag()] > 0);
    if (std::rename(temporary.c_str(), path.c_str()) != 0) fail(path, errno);
  }
}

/// Writes trees/<commit>.json, from which huggingface_hub knows the files of the snapshot without the hub.
void write_tree(const fs::path& repo_folder, const std::string& commit, const std::vector<HubFile>& all) {
  std::string text = fmt::format("{{\n \"format_version\": {},\n \"files\": {{", kTreeFormat);
  const auto quoted = [](const std::string& word) {
    return Json(word).dump(-1, ' ', true, Json::error_handler_t::replace);
  };
  for (size_t i = 0; i < all.size(); ++i) {  // by hand: a Json object compares each new key with all others
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

/// Writes a ref in one step, without a temporary file among the refs, where it would be mistaken for one.
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

void write_records(const fs::path& repo_folder, const HubRepo& repo, const std::vector<HubFile>& all,
                   const std::string& revision) {
  write_tree(repo_folder, repo.commit, all);
  if (!revision.empty() && !is_unchanged(repo_folder / "refs" / revision, repo.commit)) {
    write_ref(repo_folder, revision, repo.commit);
  }
}

/// The folder in which a new snapshot is made.
fs::path staging_folder(const fs::path& repo_folder, const std::string& commit) {
  return repo_folder / (".mlxk-snapshot-" + commit);
}

}  // namespace

fs::path write_snapshot(const fs::path& repo_folder, const fs::path& locks, const HubRepo& repo,
                        const std::vector<HubFile>& files, const std::vector<HubFile>& all,
                        const std::string& revision) {
  const FileLock lock = wait_for_lock(locks / "mlxk-snapshot.lock", [] { return false; });
  const fs::path snapshot = repo_folder / "snapshots" / repo.commit;
  const fs::path blobs = repo_folder / "blobs";
  for (const auto& file : files) {
    std::error_code error;
    if (!has_file(repo_folder, repo.commit, file) && !fs::exists(blobs / file.etag(), error)) {
      throw Error(ErrorKind::io,
                  fmt::format("{} disappeared from the cache during the pull of {}", file.path, repo.name),
                  "was the model removed meanwhile? pull it again");
    }
  }
  make_folder(snapshot.parent_path());
  std::error_code error;
  bool shared = false;
  for (fs::directory_iterator it(snapshot.parent_path(), error), end; !error && it != end; it.increment(error)) {
    shared = shared || it->path() != snapshot;
  }
  if (!fs::exists(snapshot, error)) {
    // Files of a killed process there are of the same commit, so they may stay.
    const fs::path staging = staging_folder(repo_folder, repo.commit);
    make_folder(staging);
    place_files(blobs, staging, files, shared);
    if (std::rename(staging.c_str(), snapshot.c_str()) == 0) {
      write_records(repo_folder, repo, all, revision);
      return snapshot;
    }
    if (errno != EEXIST && errno != ENOTEMPTY) fail(snapshot, errno);
    fs::remove_all(staging, error);  // another program was faster
  }
  place_files(blobs, snapshot, files, shared);
  write_records(repo_folder, repo, all, revision);
  return snapshot;
}

bool is_written(const fs::path& repo_folder, const HubRepo& repo, const std::vector<HubFile>& files,
                const std::string& revision) {
  const fs::path snapshot = repo_folder / "snapshots" / repo.commit;
  return std::all_of(files.begin(), files.end(), [&](const HubFile& file) { return is_placed(snapshot, file); }) &&
         (revision.empty() || is_unchanged(repo_folder / "refs" / revision, repo.commit));
}

bool has_file(const fs::path& repo_folder, const std::string& commit, const HubFile& file) {
  for (const fs::path& folder : {repo_folder / "snapshots" / commit, staging_folder(repo_folder, commit)}) {
    std::error_code error;
    if (fs::symlink_status(folder / file.path, error).type() == fs::file_type::regular && is_placed(folder, file))
      return true;
  }
  return false;
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
    return {};  // absent, broken or of another version: unknown
  }
  return files;
}

}  // namespace mlxk
