#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace mlxk {

/// A model in a lock file (mlxk.lock), with size and SHA-256 of every file.
struct LockedModel {
  std::string name;      // "org/name"
  std::string revision;  // 40 hex
  std::vector<HubFile> files;
};

/// Reads a lock file, {"lock_version":1,"models":[{"name","revision","files":[{"path","size","sha256"}]}]}; throws io,
/// and invalid naming the faulty entry.
std::vector<LockedModel> read_lock_file(const std::filesystem::path& path);

/// Adds `model` to the lock file, or replaces the entry of its name; throws as read_lock_file.
void write_lock_file(const std::filesystem::path& path, const LockedModel& model);

}  // namespace mlxk
