#include "kernels/cuda/upload.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/memory.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

constexpr size_t kChunk = size_t{16} << 20;
constexpr size_t kMostThreads = 8;

struct Chunk {
  uint64_t offset;
  char* to;
  size_t bytes;
};

class Descriptor {
 public:
  // O_NONBLOCK: opening a planted FIFO must not hang.
  explicit Descriptor(const std::filesystem::path& path)
      : path_(path.string()), fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (fd_ < 0) throw Error(ErrorKind::io, fmt::format("cannot open {}: {}", path_, std::strerror(errno)));
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(fd_); }

  void read(char* to, size_t bytes, uint64_t offset) const {
    while (bytes > 0) {
      const ssize_t got = pread(fd_, to, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Error(ErrorKind::io, fmt::format("cannot read {}: {}", path_, std::strerror(errno)));
      if (got == 0) throw Error(ErrorKind::io, fmt::format("cannot read {}: it ends at byte {}", path_, offset));
      to += got;
      bytes -= static_cast<size_t>(got);
      offset += static_cast<uint64_t>(got);
    }
  }

 private:
  std::string path_;
  int fd_;
};

/// Reads and copies chunks in turn until none is left.
void copy_chunks(const Descriptor& file, const std::vector<Chunk>& chunks, std::atomic<size_t>& next) {
  CudaCopier copiers[2] = {CudaCopier(kChunk), CudaCopier(kChunk)};  // one is filled while the other is copied
  for (int turn = 0;; turn = 1 - turn) {
    const size_t i = next++;
    if (i >= chunks.size()) break;
    char* const staged = copiers[turn].wait();
    file.read(staged, chunks[i].bytes, chunks[i].offset);
    copiers[turn].copy(chunks[i].to, chunks[i].bytes);
  }
  for (CudaCopier& copier : copiers) copier.wait();
}

}  // namespace

std::vector<mx::array> cuda_upload(const std::filesystem::path& path, const std::vector<CudaUpload>& uploads) {
  mx::eval(mx::add(mx::array(1), mx::array(1)));  // libmlx makes the card's context current
  const Descriptor file(path);
  std::vector<mx::array> arrays;
  std::vector<Chunk> chunks;
  for (const CudaUpload& upload : uploads) {
    size_t bytes = mx::size_of(upload.type);
    for (const auto size : upload.shape) bytes *= static_cast<size_t>(size);
    if (bytes == 0) {
      arrays.push_back(mx::zeros(upload.shape, upload.type));
      continue;
    }
    const mx::array& a = arrays.emplace_back(cuda_memory_of_weights(bytes), upload.shape, upload.type);
    for (size_t at = 0; at < bytes; at += kChunk) {
      chunks.push_back({upload.offset + at, static_cast<char*>(cuda_data(a)) + at, std::min(kChunk, bytes - at)});
    }
  }
  std::atomic<size_t> next = 0;
  std::exception_ptr failure;
  std::mutex mutex;
  const CudaContext context;
  std::vector<std::thread> threads;
  const size_t count =
      std::min({kMostThreads, chunks.size(), size_t{std::max(1U, std::thread::hardware_concurrency())}});
  for (size_t i = 0; i < count; ++i) {
    threads.emplace_back([&] {
      try {
        context.use();
        copy_chunks(file, chunks, next);
      } catch (...) {
        next = chunks.size();
        const std::lock_guard lock(mutex);
        failure = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  return arrays;
}

}  // namespace mlxk
