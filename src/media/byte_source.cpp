#include "media/byte_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace mlxk {

namespace {

class Descriptor : public ByteSource {
 public:
  Descriptor(int descriptor, bool owned, std::string place)
      : descriptor_(descriptor), owned_(owned), place_(std::move(place)) {
    struct stat facts{};
    const off_t here = lseek(descriptor_, 0, SEEK_CUR);
    if (here < 0 || fstat(descriptor_, &facts) != 0 || !S_ISREG(facts.st_mode)) return;
    begin_ = static_cast<uint64_t>(here);
    size_ = static_cast<uint64_t>(facts.st_size) - std::min(begin_, static_cast<uint64_t>(facts.st_size));
  }
  ~Descriptor() override {
    if (owned_) close(descriptor_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  size_t read(std::span<uint8_t> into) override {
    for (;;) {
      const ssize_t got = ::read(descriptor_, into.data(), into.size());
      if (got >= 0) return static_cast<size_t>(got);
      if (errno != EINTR) throw Error(ErrorKind::io, fmt::format("cannot read {}: {}", place_, std::strerror(errno)));
    }
  }
  bool seek(uint64_t offset) override {
    return size_ && lseek(descriptor_, static_cast<off_t>(begin_ + offset), SEEK_SET) >= 0;
  }
  std::optional<uint64_t> size() const override { return size_; }

 private:
  int descriptor_;
  bool owned_;
  std::string place_;
  uint64_t begin_ = 0;
  std::optional<uint64_t> size_;
};

class Memory : public ByteSource {
 public:
  explicit Memory(std::span<const uint8_t> bytes) : bytes_(bytes) {}
  size_t read(std::span<uint8_t> into) override {
    const size_t count = std::min(into.size(), bytes_.size() - at_);
    std::copy_n(bytes_.data() + at_, count, into.data());
    at_ += count;
    return count;
  }
  bool seek(uint64_t offset) override {
    at_ = static_cast<size_t>(std::min<uint64_t>(offset, bytes_.size()));
    return true;
  }
  std::optional<uint64_t> size() const override { return bytes_.size(); }

 private:
  std::span<const uint8_t> bytes_;
  size_t at_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    throw Error(ErrorKind::io, fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  return std::make_unique<Descriptor>(descriptor, true, path.string());
}

std::unique_ptr<ByteSource> descriptor_bytes(int descriptor, std::string place) {
  return std::make_unique<Descriptor>(descriptor, false, std::move(place));
}

std::unique_ptr<ByteSource> memory_bytes(std::span<const uint8_t> bytes) { return std::make_unique<Memory>(bytes); }

}  // namespace mlxk
