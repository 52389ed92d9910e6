#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "http/client.h"
#include "hub/hub_settings.h"
#include "hub/retry.h"
#include "json/json.h"

namespace mlxk {

/// A file of a repository, by the hub's listing. Its names and hashes have been checked: they may become paths.
struct HubFile {
  std::string path;  // relative, "/" between components
  uint64_t size = 0;
  std::string git_hash;  // SHA-1 of "blob <size>\0" and the content
  std::string sha256;    // of a file kept in LFS; empty: not known
  std::string xet_hash;  // of a file kept in Xet; empty: none

  /// What the cache calls the file's content: the ETag that the hub gives it.
  const std::string& etag() const { return sha256.empty() ? git_hash : sha256; }
};

/// A repository at one revision.
struct HubRepo {
  std::string name;
  std::string commit;  // 40 hex
  bool gated = false, is_private = false;
};

/// Whether the hub says `key` of what `entry` describes; "gated" is false, "auto" or "manual".
bool hub_flag(const Json& entry, std::string_view key);

/// The hub's API. One thread at a time; network trouble is tried again, with longer and longer waits.
class HubClient {
 public:
  /// `cancelled` (may be empty) is asked often; when it says so, calls throw cancelled.
  HubClient(HubSettings settings, std::function<bool()> cancelled);

  const HubSettings& settings() const { return settings_; }

  /// The repository `name` at `revision` (empty: main). Throws denied (private, gated, or not there at all),
  /// no_revision, network, unavailable when offline.
  HubRepo repo(const std::string& name, const std::string& revision);

  /// Every file of `repo`, sorted by path. Throws bad_model when the listing holds what cannot be a repository's file.
  std::vector<HubFile> tree(const HubRepo& repo);

  /// Throws denied when `file` of a gated repository may not be read with this token.
  void check_access(const HubRepo& repo, const HubFile& file);

  /// Models that match `query`, the most downloaded first, as the hub describes them; `library` ("mlx") narrows, empty:
  /// any.
  Json search(const std::string& query, const std::string& library, int limit);

  /// The request for the content of `file`: the hub's address, the token.
  HttpCall file_request(const HubRepo& repo, const HubFile& file) const;

  /// Sends `request`, again where that helps; the reply may have any status. Throws network, cancelled, unavailable.
  HttpReply send(const HttpCall& request);

  /// A request to `path` ("/api/…") of the hub, with the token.
  HttpCall api_request(const std::string& path) const;

  /// Throws what a reply that is no success means for `name`: denied, no_revision, network.
  [[noreturn]] void refuse(const HttpReply& response, const std::string& name, const std::string& revision) const;

 private:
  HubSettings settings_;
  std::function<bool()> cancelled_;
  HttpClient http_;
  Backoff backoff_;  // of all requests: what they are asked to wait counts together
};

/// The file names and hashes of a page of the hub's listing, added to `files`; throws bad_model for hostile ones.
void read_tree_page(const Json& page, std::vector<HubFile>& files);

/// Sorts `files` and throws bad_model when two of them cannot lie in one folder.
void check_tree(std::vector<HubFile>& files);

}  // namespace mlxk
