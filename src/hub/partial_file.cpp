#include "hub/partial_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"

namespace mlxk {

namespace {

constexpr char kMagic[8] = {'M', 'L', 'X', 'K', 'M', 'A', 'P', '1'};
constexpr uint64_t kMaxPieces = 1 << 20;

struct MapHead {
  char magic[8];
  uint64_t size, piece_bytes;
};

[[noreturn]] void fail(const char* what, const fs::path& path) {
  const int code = errno;
  throw Error(ErrorKind::io, fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(code)),
              code == ENOSPC || code == EDQUOT ? "make room, then pull again: what is here is kept" : "");
}

/// Transfers all of `bytes` at `offset`, in as many calls as needed.
template <class Call, class Byte>
bool transfer(Call call, int descriptor, Byte* data, size_t bytes, uint64_t offset) {
  while (bytes > 0) {
    const ssize_t n = call(descriptor, data, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (n == 0) errno = EIO;
      return false;
    }
    data += n;
    bytes -= static_cast<size_t>(n);
    offset += static_cast<uint64_t>(n);
  }
  return true;
}

uint64_t piece_count(uint64_t size, uint64_t piece_bytes) {
  return std::max<uint64_t>(1, size / piece_bytes + (size % piece_bytes != 0));
}

uint64_t piece_length(uint64_t size, uint64_t piece_bytes, uint64_t piece) {
  return std::min(piece_bytes, size - piece * piece_bytes);
}

/// Reads the map of a partial file: piece length and bytes done of each piece; false if there is none for `size`.
bool load_map(int descriptor, uint64_t size, uint64_t& piece_bytes, std::vector<uint64_t>& done) {
  struct stat info;
  if (fstat(descriptor, &info) != 0) return false;
  const auto length = static_cast<uint64_t>(info.st_size);
  if (length == size) {  // complete: the map was cut off, but the file was not renamed
    piece_bytes = std::max<uint64_t>(size, 1);
    done = {size};
    return true;
  }
  MapHead head;
  if (length < size + sizeof(head) ||
      !transfer(pread, descriptor, reinterpret_cast<char*>(&head), sizeof(head), size)) {
    return false;
  }
  if (std::memcmp(head.magic, kMagic, sizeof(kMagic)) != 0 || head.size != size || head.piece_bytes == 0) return false;
  const uint64_t pieces = piece_count(size, head.piece_bytes);
  if (pieces > kMaxPieces || length != size + sizeof(head) + pieces * sizeof(uint64_t)) return false;
  done.assign(pieces, 0);
  if (!transfer(pread, descriptor, reinterpret_cast<char*>(done.data()), pieces * sizeof(uint64_t),
                size + sizeof(head))) {
    return false;
  }
  piece_bytes = head.piece_bytes;
  for (uint64_t piece = 0; piece < pieces; ++piece) {
    if (done[piece] > piece_length(size, piece_bytes, piece)) return false;
  }
  return true;
}

}  // namespace

PartialFile::PartialFile(fs::path path, uint64_t size, uint64_t piece_bytes)
    : path_(std::move(path)), size_(size), new_piece_bytes_(std::max(piece_bytes, size / kMaxPieces + 1)) {
  descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
  struct stat info;
  if (descriptor_ < 0 || fstat(descriptor_, &info) != 0) fail("write", path_);
  if (!S_ISREG(info.st_mode)) {
    close(descriptor_);
    throw Error(ErrorKind::io, fmt::format("cannot write {}: not a regular file", path_.string()));
  }
  if (info.st_size == 0 || !load_map(descriptor_, size_, piece_bytes_, done_)) start();
}

PartialFile::~PartialFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void PartialFile::start() {
  fresh_ = true;
  piece_bytes_ = new_piece_bytes_;
  done_.assign(piece_count(size_, piece_bytes_), 0);
  std::string map(sizeof(MapHead) + done_.size() * sizeof(uint64_t), '\0');
  MapHead head{{}, size_, piece_bytes_};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  std::memcpy(map.data(), &head, sizeof(head));
  if (ftruncate(descriptor_, 0) != 0 || !transfer(pwrite, descriptor_, map.data(), map.size(), size_))
    fail("write", path_);
}

uint64_t PartialFile::length(size_t piece) const { return piece_length(size_, piece_bytes_, piece); }

uint64_t PartialFile::at_hand() const { return std::accumulate(done_.begin(), done_.end(), uint64_t{0}); }

void PartialFile::append(size_t piece, std::string_view data) {
  if (data.size() > length(piece) - done_[piece]) {
    throw Error(ErrorKind::internal, fmt::format("[pull] {} bytes past the end of piece {}", data.size(), piece));
  }
  if (!transfer(pwrite, descriptor_, data.data(), data.size(), begin(piece) + done_[piece])) fail("write", path_);
  const uint64_t done = done_[piece] + data.size(), slot = size_ + sizeof(MapHead) + piece * sizeof(uint64_t);
  if (!transfer(pwrite, descriptor_, reinterpret_cast<const char*>(&done), sizeof(done), slot)) fail("write", path_);
  done_[piece] = done;
}

uint64_t PartialFile::adopt(const fs::path& prefix) {
  if (!fresh_) return 0;
  const int source = open(prefix.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (source < 0) return 0;
  struct stat info;
  uint64_t taken = 0;
  if (fstat(source, &info) == 0 && S_ISREG(info.st_mode) && static_cast<uint64_t>(info.st_size) <= size_) {
    std::string buffer(size_t{1} << 20, '\0');
    for (ssize_t n; (n = pread(source, buffer.data(), buffer.size(), static_cast<off_t>(taken))) > 0;) {
      for (std::string_view rest(buffer.data(), static_cast<size_t>(n)); !rest.empty();) {
        if (taken == size_) break;  // it grew meanwhile
        const size_t piece = piece_of(taken);
        const auto part = std::min<uint64_t>(rest.size(), length(piece) - done_[piece]);
        append(piece, rest.substr(0, part));
        rest.remove_prefix(part);
        taken += part;
      }
      if (taken == size_) break;
    }
  }
  close(source);
  return taken;
}

bool PartialFile::has_hash(const std::string& sha256, const std::string& git_hash) const {
  const bool git = sha256.empty();
  Digest digest(git ? Digest::Kind::sha1 : Digest::Kind::sha256);
  if (git) digest.add(fmt::format("blob {}", size_)).add({"\0", 1});
  std::string buffer(size_t{4} << 20, '\0');
  for (uint64_t at = 0; at < size_;) {
    const auto bytes = static_cast<size_t>(std::min<uint64_t>(buffer.size(), size_ - at));
    if (!transfer(pread, descriptor_, buffer.data(), bytes, at)) fail("read", path_);
    digest.add({buffer.data(), bytes});
    at += bytes;
  }
  return digest.hex() == (git ? git_hash : sha256);
}

void PartialFile::reset() { start(); }

void PartialFile::finish(const fs::path& target) {
  if (ftruncate(descriptor_, static_cast<off_t>(size_)) != 0 || fsync(descriptor_) != 0) fail("write", path_);
  if (std::rename(path_.c_str(), target.c_str()) != 0) fail("write", target);
  close(descriptor_);
  descriptor_ = -1;
}

uint64_t partial_bytes(const fs::path& path, uint64_t size) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return 0;
  uint64_t piece_bytes = 0;
  std::vector<uint64_t> done;
  const bool found = load_map(descriptor, size, piece_bytes, done);
  close(descriptor);
  return found ? std::accumulate(done.begin(), done.end(), uint64_t{0}) : 0;
}

}  // namespace mlxk
