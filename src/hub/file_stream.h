#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "http/client.h"
#include "hub/hub_client.h"
#include "hub/partial_file.h"

namespace mlxk {

/// One request for a piece of a file, its reply checked against the hub's listing and written into the partial file. A
/// hub that ignores ranges sends the file from its start: bytes at hand are then passed over.
class FileStream {
 public:
  /// `alone`: nobody else writes to this file, so that a reply with all of it may fill all pieces.
  FileStream(const HubClient& hub, const HubRepo& repo, const HubFile& file, PartialFile& partial, size_t piece,
             bool alone);

  std::function<void(bool)> on_ranges;     // a good reply came: whether it is the range asked for
  std::function<void(uint64_t)> on_bytes;  // so many new bytes were written

  /// Sends the request and takes what comes. Throws denied (the hub refuses the file), network (no use in trying
  /// again), io.
  HttpReply receive(HttpClient& http, std::function<bool()> cancelled);

  /// All that this stream is for is at hand.
  bool complete() const;
  /// New bytes that it brought.
  uint64_t received() const { return received_; }
  /// Why it is not complete, for people.
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
  uint64_t at_ = 0;     // where in the file the next byte belongs
  uint64_t received_ = 0;
  std::string problem_;
};

}  // namespace mlxk
