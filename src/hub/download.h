#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "hub/hub_client.h"

namespace mlxk {

/// One file on its way, for whoever watches.
struct FileProgress {
  std::string path;
  uint64_t done = 0, size = 0;
  enum class State { receiving, waiting, verifying } state = State::receiving;  // waiting: another process has its lock
};

/// How far a download is.
struct DownloadProgress {
  uint64_t done = 0, size = 0;  // bytes of all files, what was at hand before included
  uint64_t received = 0;        // bytes that came over the network in this run
  size_t files_done = 0, files = 0;
  std::vector<FileProgress> active;
  std::vector<std::string> finished;  // paths, since the last look
  std::vector<std::string> notes;     // what went wrong and is tried again, since the last look
};

struct DownloadOptions {
  int connections = 8;
  std::function<bool()> cancelled;                           // asked often, from any thread
  std::function<void(const DownloadProgress&)> on_progress;  // ten times a second, on the calling thread
};

/// Downloads the contents of `files` that <repo_folder>/blobs does not have yet, several at once and large ones in
/// ranges, each verified (length and hash) before it gets its name there. `locks` is the folder of their lock files.
/// What is not complete stays, to be taken up by the next call. Returns the bytes received. Throws network, denied, io,
/// bad_model (the content is not what the listing said), cancelled.
uint64_t download_blobs(const HubClient& hub, const HubRepo& repo, const std::vector<HubFile>& files,
                        const std::filesystem::path& repo_folder, const std::filesystem::path& locks,
                        const DownloadOptions& options);

/// The bytes of `file` that are at hand in `blobs`: all of a finished blob, else what the partial files have.
uint64_t bytes_at_hand(const std::filesystem::path& blobs, const HubFile& file);

}  // namespace mlxk
