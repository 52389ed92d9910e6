#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace mlxk {

/// Makes the snapshot of `repo` from existing blobs, with relative links as in huggingface_hub; without symbolic links
/// (or with HF_HUB_DISABLE_SYMLINKS) the files themselves move out of blobs/. A new snapshot appears in one step; an
/// existing one gets its missing files. The listing trees/<commit>.json (of `all` files) follows, and refs/<revision>
/// last, unless `revision` is empty. Throws io if a blob is gone or the cache is not writable. Returns the snapshot.
std::filesystem::path write_snapshot(const std::filesystem::path& repo_folder, const std::filesystem::path& locks,
                                     const HubRepo& repo, const std::vector<HubFile>& files,
                                     const std::vector<HubFile>& all, const std::string& revision);

/// Whether write_snapshot would change nothing: every link and the ref are correct.
bool is_written(const std::filesystem::path& repo_folder, const HubRepo& repo, const std::vector<HubFile>& files,
                const std::string& revision);

/// Whether the snapshot of `commit` holds `file` itself instead of a link, with the right length.
bool has_file(const std::filesystem::path& repo_folder, const std::string& commit, const HubFile& file);

/// The files of the recorded listing of `commit`; empty if there is none.
std::vector<HubFile> recorded_tree(const std::filesystem::path& repo_folder, const std::string& commit);

}  // namespace mlxk
