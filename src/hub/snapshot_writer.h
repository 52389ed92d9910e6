#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace mlxk {

/// Makes the snapshot of `repo` from blobs that are all there: relative links, as huggingface_hub makes them, or where
/// links cannot be (or HF_HUB_DISABLE_SYMLINKS forbids them) the files themselves, which then leave blobs/. A new
/// snapshot appears in one step; one that exists gets what it lacks. Then the listing trees/<commit>.json (`all` files)
/// and last refs/<revision>, unless that is empty. Throws io when a blob is gone or the cache cannot be written.
/// Returns the snapshot.
std::filesystem::path write_snapshot(const std::filesystem::path& repo_folder, const std::filesystem::path& locks,
                                     const HubRepo& repo, const std::vector<HubFile>& files,
                                     const std::vector<HubFile>& all, const std::string& revision);

/// Whether write_snapshot would change nothing: every link is right, and so is the ref.
bool is_written(const std::filesystem::path& repo_folder, const HubRepo& repo, const std::vector<HubFile>& files,
                const std::string& revision);

/// Whether the snapshot of `commit` holds `file` itself, no link to a blob, of the right length.
bool has_file(const std::filesystem::path& repo_folder, const std::string& commit, const HubFile& file);

/// The files of the recorded listing of `commit`; empty when there is none.
std::vector<HubFile> recorded_tree(const std::filesystem::path& repo_folder, const std::string& commit);

}  // namespace mlxk
