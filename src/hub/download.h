#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace mlxk {

/// The progress of one file.
struct FileProgress {
  std::string path;
  uint64_t done = 0, size = 0;
  enum class State { receiving, waiting, verifying } state = State::receiving;  // waiting: another process has its lock
};

/// The progress of a download.
struct DownloadProgress {
  uint64_t done = 0, size = 0;  // bytes of all files, including those of earlier runs
  uint64_t received = 0;        // bytes received over the network in this run
  size_t files_done = 0, files = 0;
  std::vector<FileProgress> active;
  std::vector<std::string> finished;  // paths, since the last report
  std::vector<std::string> notes;     // failures that are retried, since the last report
};

struct DownloadOptions {
  int connections = 8;
  std::function<bool()> cancelled;                           // called often, from any thread
  std::function<void(const DownloadProgress&)> on_progress;  // ten times a second, on the calling thread
};

/// Downloads the contents of `files` that <repo_folder>/blobs lacks, several at once and large ones in ranges, each
/// verified (length and hash) before it gets its name there. `locks` is the folder of their lock files. Incomplete
/// files stay for the next call to resume. Returns the bytes received. Throws network, denied, io, bad_model (the
/// content differs from the listing), cancelled.
uint64_t download_blobs(const HubClient& hub, const HubRepo& repo, const std::vector<HubFile>& files,
                        const std::filesystem::path& repo_folder, const std::filesystem::path& locks,
                        const DownloadOptions& options);

/// The bytes of `file` present in `blobs`: all of a finished blob, else those of the partial files.
uint64_t bytes_at_hand(const std::filesystem::path& blobs, const HubFile& file);

}  // namespace mlxk
