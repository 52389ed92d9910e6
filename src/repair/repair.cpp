#include "repair/repair.h"

#include <fcntl.h>
#include <fmt/format.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "base/side_file.h"
#include "base/staged_folder.h"
#include "base/timestamp.h"
#include "hub/content_hash.h"
#include "hub/workspace.h"
#include "json/json.h"
#include "probe/model_info.h"
#include "repair/rules.h"

namespace mlxk {

namespace {

/// Shares the file's blocks if the file system can; false if it cannot.
bool share_blocks(const fs::path& from, const fs::path& to) {
#ifdef FICLONE
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int out = in < 0 ? -1 : open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  const bool shared = out >= 0 && ioctl(out, FICLONE, in) == 0;
  if (in >= 0) close(in);
  if (out >= 0) close(out);
  if (!shared && out >= 0) unlink(to.c_str());
  return shared;
#else
  return false;
#endif
}

void copy_whole(const fs::path& from, const fs::path& to) {
  if (share_blocks(from, to)) return;
  std::error_code failure;
  fs::copy_file(from, to, failure);
  if (failure) throw Error(ErrorKind::io, fmt::format("cannot copy {}: {}", from.string(), failure.message()));
  fs::permissions(to, fs::perms(0644), failure);
}

/// The files to copy, relative to `folder`: for an index those at the top only, else also nested ones (a pooling
/// layer's, for instance), except hidden folders. The sentinel describes the source and is not copied.
std::vector<fs::path> files_in(const fs::path& folder, bool top_only) {
  std::vector<fs::path> files;
  for (fs::recursive_directory_iterator it(folder), end; it != end; ++it) {
    check_nesting(it);
    const auto name = it->path().filename().string();
    const bool side = is_side_file(name);
    if (it->is_directory() && (top_only || side || name.front() == '.')) it.disable_recursion_pending();
    if (it->is_regular_file() && !side && name != kSentinelName) files.push_back(it->path().lexically_relative(folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

Json sentinel(const RepairOptions& options) {
  const auto before = read_sentinel(options.source);
  const auto repo = before ? before->value("source_repo", Json()) : Json();
  Json json = {{"mlxk_version", MLXK_VERSION},
               {"created_at", utc_now()},
               {"source_repo", repo.is_string() ? repo : Json(options.source.string())},
               {"source_revision", before ? before->value("source_revision", Json()) : Json()},
               {"managed", true},
               {"operation", "convert"},
               {"mode", options.index_only ? "repair-index" : "repair"}};
  return json;
}
}  // namespace

RepairReport repair_model(const RepairOptions& options,
                          const std::function<void(const std::string&, int64_t, int64_t)>& progress) {
  if (!fs::is_directory(options.source)) {
    throw Error(ErrorKind::not_found, fmt::format("{} {}", options.source.string(),
                                                  fs::exists(options.source) ? "is not a folder" : "does not exist"));
  }
  if (!is_workspace(options.source)) {
    throw Error(ErrorKind::not_found, fmt::format("{} holds no config.json", options.source.string()));
  }
  StagedFolder staged(options.target, StagedFolder::Existing::empty_allowed);
  const auto files = files_in(options.source, options.index_only);
  for (size_t i = 0; i < files.size(); ++i) {
    fs::create_directories((staged.path() / files[i]).parent_path());
    copy_whole(options.source / files[i], staged.path() / files[i]);
    if (progress) progress(files[i].string(), static_cast<int64_t>(i + 1), static_cast<int64_t>(files.size()));
  }
  RepairReport report;
  if (options.index_only) {
    report.message = rebuild_index(staged.path(), report.findings)
                         ? "Index rebuilt successfully"
                         : "No index to rebuild (single-file model or no safetensors found)";
  } else {
    repair_index(staged.path(), report.findings);
    repair_eos(staged.path(), report.findings);
    repair_preprocessor(staged.path(), report.findings);
    const auto fixed = std::count_if(report.findings.begin(), report.findings.end(),
                                     [](const Finding& finding) { return !finding.fix.empty(); });
    report.message =
        report.findings.empty() ? "Nothing to repair" : fmt::format("Repaired {} of {}", fixed, report.findings.size());
  }
  if (options.check_health) {
    const auto info = probe_model({.name = staged.path().string(), .path = staged.path(), .cached = false});
    if (!info.healthy) {
      throw Error(ErrorKind::bad_model, fmt::format("[repair] the result is not healthy: {}", info.health_reason),
                  "--skip-health writes it anyway");
    }
  }
  write_sentinel(staged.path(), sentinel(options));
  recalculate_content_hash(staged.path());
  staged.commit();
  return report;
}

}  // namespace mlxk
