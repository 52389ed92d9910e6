#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "http/client.h"
#include "hub/hub_client.h"
#include "hub/partial_file.h"

namespace mlxk {

/// One request for a piece of a file; the reply is checked against the hub's listing and written into the partial file.
/// If the hub ignores ranges and sends the file from its start, known bytes are skipped.
class FileStream {
 public:
  /// `alone`: no other stream writes to this file, so a reply with the whole file may fill all pieces.
  FileStream(const HubClient& hub, const HubRepo& repo, const HubFile& file, PartialFile& partial, size_t piece,
             bool alone);

  std::function<void(bool)> on_ranges;     // called for a good reply: whether it is the requested range
  std::function<void(uint64_t)> on_bytes;  // called with the number of new bytes written

  /// Sends the request and writes the reply. Throws io, denied (the hub refuses the file), network (retries are
  /// pointless).
  HttpReply receive(HttpClient& http, std::function<bool()> cancelled);

  /// Whether all bytes of the piece are there.
  bool complete() const;
  /// The number of new bytes.
  uint64_t received() const { return received_; }
  /// Why the piece is incomplete, for messages.
  std::string problem(const HttpReply& response) const;

 private:
  bool see_head(const HttpReply& response);
  bool take(std::string_view data);
  bool refuse(std::string problem);

  const HubClient& hub_;
  const HubRepo& repo_;
  const HubFile& file_;
  PartialFile& partial_;
  size_t piece_;
  bool alone_;
  bool whole_ = false;  // the reply is the file from its start
  uint64_t at_ = 0;     // the file offset of the next byte
  uint64_t received_ = 0;
  std::string problem_;
};

}  // namespace mlxk
