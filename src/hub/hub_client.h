#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/client.h"
#include "hub/hub_settings.h"
#include "hub/retry.h"
#include "json/json_fwd.h"

namespace mlxk {

/// A file of a repository in the hub's listing. Its path and hashes are checked: they may become file names.
struct HubFile {
  std::string path;  // relative, "/" between components
  uint64_t size = 0;
  std::string git_hash;  // SHA-1 of "blob <size>\0" and the content
  std::string sha256;    // of a file kept in LFS; empty: not known
  std::string xet_hash;  // of a file kept in Xet; empty: none

  /// The name of the file's content in the cache: the hub's ETag.
  const std::string& etag() const { return sha256.empty() ? git_hash : sha256; }
};

/// A repository at one revision.
struct HubRepo {
  std::string name;
  std::string commit;  // 40 hex
  bool gated = false, is_private = false;
};

/// Whether the flag `key` of a hub's description is set; "gated" is false, "auto" or "manual".
bool hub_flag(const Json& entry, std::string_view key);

/// The hub's API. One thread at a time; failed requests are retried with increasing delays.
class HubClient {
 public:
  /// `cancelled` (may be empty) is called often; once it is true, calls throw cancelled.
  HubClient(HubSettings settings, std::function<bool()> cancelled);

  const HubSettings& settings() const { return settings_; }

  /// Looks up the repository `name` at `revision` (empty: main). Throws denied (private, gated or unknown),
  /// no_revision, network, unavailable when offline.
  HubRepo repo(const std::string& name, const std::string& revision);

  /// Lists every file of `repo`, sorted by path. Throws bad_model for a listing with impossible files.
  std::vector<HubFile> tree(const HubRepo& repo);

  /// Throws denied if this token does not give access to `file` of a gated repository.
  void check_access(const HubRepo& repo, const HubFile& file);

  /// Searches for models by `query`; the hub's descriptions, the most downloaded first. `library` ("mlx") filters;
  /// empty: any.
  Json search(const std::string& query, const std::string& library, int limit);

  /// Makes the request for the content of `file`, with the token.
  HttpCall file_request(const HubRepo& repo, const HubFile& file) const;

  /// Sends `request`, with retries if they may help; the reply may have any status. Throws network, cancelled,
  /// unavailable.
  HttpReply send(const HttpCall& request);

  /// Makes a request to `path` ("/api/…") of the hub, with the token.
  HttpCall api_request(const std::string& path) const;

  /// Throws the error of an unsuccessful reply about `name`: denied, no_revision, network.
  [[noreturn]] void refuse(const HttpReply& response, const std::string& name, const std::string& revision) const;

 private:
  HubSettings settings_;
  std::function<bool()> cancelled_;
  HttpClient http_;
  Backoff backoff_;  // of all requests: their waits count together
};

/// Adds the files of a page of the hub's listing to `files`; throws bad_model for hostile names and hashes.
void read_tree_page(const Json& page, std::vector<HubFile>& files);

/// Sorts `files` and throws bad_model if two of them cannot be in one folder.
void check_tree(std::vector<HubFile>& files);

}  // namespace mlxk
