#include "backend/prefix_files.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <mlx/version.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "base/side_file.h"
#include "cpu/features.h"
#include "kernels/cpu_op.h"

namespace mlxk {

namespace {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'m', 'l', 'x', 'k', 'k', 'v', '0', '1'};
constexpr uint64_t kMaxWaiting = uint64_t{256} << 20;  // bytes to be written
constexpr uint64_t kLeftFree = uint64_t{1} << 30;      // of the disk
constexpr int32_t kMaxTokens = 1 << 24;
constexpr const char* kSuffix = ".kv";
constexpr size_t kFolderName = 32, kFileDigest = 40;  // hex digits

/// The header of a file; the tokens from the prompt's beginning on and the data follow.
struct Header {
  char magic[8];
  char identity[64], scope[64];  // digests, hex
  int32_t from, tokens, is_state, unused;
  uint64_t data_bytes, data_sum;
  uint64_t head_sum;  // checksum of the header with zero in this place, and of the tokens
};
static_assert(sizeof(Header) == 176);

/// A checksum against damage, not malice: eight sums side by side, so that it runs at memory speed.
uint64_t checksum(std::span<const std::byte> bytes, uint64_t seed = 0) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15U;
  uint64_t sums[8];
  for (uint64_t i = 0; i < 8; ++i) sums[i] = (seed + i + 1) * kFactor;
  size_t at = 0;
  uint64_t words[8];
  for (; at + sizeof(words) <= bytes.size(); at += sizeof(words)) {
    std::memcpy(words, bytes.data() + at, sizeof(words));
    for (int i = 0; i < 8; ++i) sums[i] = std::rotl((sums[i] ^ words[i]) * kFactor, 29);
  }
  std::fill(std::begin(words), std::end(words), bytes.size());
  std::memcpy(words, bytes.data() + at, bytes.size() - at);
  uint64_t all = bytes.size();
  for (int i = 0; i < 8; ++i) {
    sums[i] = std::rotl((sums[i] ^ words[i]) * kFactor, 29);
    all = (all ^ sums[i] ^ (sums[i] >> 31)) * kFactor;
  }
  return all ^ (all >> 32);
}

uint64_t head_sum(Header header, std::span<const int32_t> tokens) {
  header.head_sum = 0;
  return checksum(std::as_bytes(tokens), checksum(std::as_bytes(std::span(&header, 1))));
}

/// An open file, closed by the destructor. O_NONBLOCK: opening a FIFO that somebody planted must not hang.
class File {
 public:
  File(const fs::path& path, int flags)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  bool is_open() const { return fd_ >= 0; }
  uint64_t size() const {
    struct stat facts{};
    return ::fstat(fd_, &facts) == 0 && S_ISREG(facts.st_mode) ? static_cast<uint64_t>(facts.st_size) : 0;
  }
  bool read(void* to, size_t bytes) {
    for (auto* out = static_cast<char*>(to); bytes > 0;) {
      const ssize_t got = ::read(fd_, out, bytes);
      if (got <= 0) return false;
      out += got;
      bytes -= static_cast<size_t>(got);
    }
    return true;
  }
  bool write(const void* from, size_t bytes) {
    for (const auto* in = static_cast<const char*>(from); bytes > 0;) {
      const ssize_t got = ::write(fd_, in, bytes);
      if (got <= 0) return false;
      in += got;
      bytes -= static_cast<size_t>(got);
    }
    return true;
  }

 private:
  int fd_;
};

/// The header and the tokens, checked against each other and against the file's size; nullopt if the file is not valid.
std::optional<std::pair<Header, std::vector<int32_t>>> read_head(File& file, const std::string& identity) {
  Header header;
  if (!file.is_open() || !file.read(&header, sizeof(header))) return std::nullopt;
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0) return std::nullopt;
  if (std::string_view(header.identity, sizeof(header.identity)) != identity) return std::nullopt;
  if (header.from < 0 || header.from > kMaxTokens || header.tokens < 1 || header.tokens > PrefixTree::kBlock) {
    return std::nullopt;
  }
  const size_t count = static_cast<size_t>(header.from) + static_cast<size_t>(header.tokens);
  const uint64_t head = sizeof(header) + count * sizeof(int32_t);
  if (file.size() < head || file.size() - head != header.data_bytes) return std::nullopt;
  std::vector<int32_t> tokens(count);
  if (!file.read(tokens.data(), tokens.size() * sizeof(int32_t))) return std::nullopt;
  if (head_sum(header, tokens) != header.head_sum) return std::nullopt;
  return std::pair(header, std::move(tokens));
}

void remove_with_warning(const fs::path& path) {
  std::error_code ignored;
  if (fs::remove(path, ignored)) log::warn(fmt::format("[prefix cache] removed {}: damaged or foreign", path.string()));
}

bool is_hex(std::string_view text, size_t length) {
  return text.size() == length && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Whether `name` has the form of our files: nothing else in the folder is touched.
bool is_ours(const fs::path& path) {
  const std::string name = path.filename().string(), folder = path.parent_path().filename().string();
  const size_t dash = name.find('-');
  return is_hex(folder, kFolderName) && dash != std::string::npos && dash > 0 &&
         name.find_first_not_of("0123456789") == dash && name.size() > dash + 1 + kFileDigest &&
         is_hex(std::string_view(name).substr(dash + 1, kFileDigest), kFileDigest) &&
         name.compare(dash + 1 + kFileDigest, 3, kSuffix) == 0;
}

/// Removes the least recently used files from all folders in `dir` until at most `budget` bytes are kept, and the
/// half-written files of killed runs; returns the bytes that remain. Of files with the same time, ends of prompts are
/// removed before beginnings.
uint64_t trim(const fs::path& dir, uint64_t budget) {
  struct Kept {
    fs::file_time_type used;
    int64_t from;
    uint64_t bytes;
    fs::path path;
  };
  std::vector<Kept> all;
  uint64_t total = 0;
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::recursive_directory_iterator it(dir, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;  // another process may trim too
    if (it.depth() != 1 || !it->is_regular_file(gone) || !is_ours(it->path())) continue;
    const uint64_t bytes = it->file_size(gone);
    const auto used = it->last_write_time(gone);
    if (gone) continue;
    if (it->path().extension() != kSuffix) {
      if (it->path().extension() == ".part" && now - used > std::chrono::hours(1)) fs::remove(it->path(), gone);
      continue;
    }
    all.push_back({used, std::atoll(it->path().filename().c_str()), bytes, it->path()});
    total += bytes;
  }
  std::sort(all.begin(), all.end(),
            [](const Kept& a, const Kept& b) { return a.used != b.used ? a.used < b.used : a.from > b.from; });
  for (const Kept& one : all) {
    if (total <= budget) break;
    std::error_code ignored;
    fs::remove(one.path, ignored);
    total -= one.bytes;
  }
  return total;
}

void add_file_facts(Digest& digest, const fs::path& path) {
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0) return;
#ifdef __APPLE__
  const auto& time = facts.st_mtimespec;
#else
  const auto& time = facts.st_mtim;
#endif
  digest.add(fmt::format("{} {} {}.{}\n", path.filename().string(), facts.st_size, time.tv_sec, time.tv_nsec));
}

/// The library or program that contains `function`.
void add_code_facts(Digest& digest, const void* function) {
  Dl_info info{};
  if (::dladdr(function, &info) != 0 && info.dli_fname) add_file_facts(digest, info.dli_fname);
}

}  // namespace

std::string prefix_identity(const fs::path& model_dir) {
  Digest digest(Digest::Kind::sha256);
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(model_dir, error), end; !error && it != end; it.increment(error)) {
    if (is_side_file(it->path().filename().string())) continue;
    if (it->path().extension() == ".safetensors" || it->path().filename() == "config.json") files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) add_file_facts(digest, file);
  digest.add(fmt::format("{} {}\n", mx::version(), cpu_is_default() ? cpu_kernels().name : "gpu"));
  add_code_facts(digest, reinterpret_cast<const void*>(&prefix_identity));
  add_code_facts(digest, reinterpret_cast<const void*>(&mx::version));
  return digest.hex();
}

std::string prefix_scope(const std::string& cache_scope) { return Digest(Digest::Kind::sha256).add(cache_scope).hex(); }

/// The writer thread and the data that it shares with the others.
struct PrefixFiles::Writer {
  fs::path dir, folder;
  std::string identity;
  uint64_t budget;
  std::mutex mutex;
  std::condition_variable wake, idle;
  std::deque<Piece> waiting;
  std::vector<std::string> used;  // files to be marked as used
  uint64_t waiting_bytes = 0, total = 0;
  bool busy = false, closed = false;
  mutable std::atomic<bool> warned = false;
  std::thread thread;

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [&] { return closed || !waiting.empty() || !used.empty(); });
      if (waiting.empty() && used.empty()) break;
      auto marked = std::move(used);
      used.clear();
      std::optional<Piece> piece;
      if (!waiting.empty()) {
        piece = std::move(waiting.front());
        waiting.pop_front();
      }
      busy = true;
      lock.unlock();
      for (const auto& file : marked) ::utimensat(AT_FDCWD, (folder / file).c_str(), nullptr, 0);
      uint64_t written = 0;
      if (piece) written = store(*piece);
      lock.lock();
      if (piece) waiting_bytes -= piece->bytes->size;
      total += written;
      if (total > budget) {
        lock.unlock();
        const uint64_t left = trim(dir, budget - budget / 10);  // not for every file
        lock.lock();
        total = left;
      }
      busy = false;
      idle.notify_all();
    }
  }

  /// Writes a file and returns its size in bytes.
  uint64_t store(const Piece& piece) const {
    const fs::path path = folder / piece.bytes->file;
    std::error_code error;
    if (fs::exists(path, error)) return 0;
    const auto space = fs::space(folder, error);
    Header header{};
    const uint64_t bytes = sizeof(header) + piece.tokens.size() * sizeof(int32_t) + piece.bytes->size;
    if (bytes > budget) return 0;
    if (error || space.available < kLeftFree + bytes) {
      warn(error ? "cannot be written to" : "is on a disk with less than a gigabyte left");
      return 0;
    }
    std::memcpy(header.magic, kMagic, sizeof(kMagic));
    std::memcpy(header.identity, identity.data(), sizeof(header.identity));
    std::memcpy(header.scope, piece.scope.data(), sizeof(header.scope));
    header.from = piece.bytes->from;
    header.tokens = piece.bytes->tokens;
    header.is_state = piece.bytes->is_state ? 1 : 0;
    header.data_bytes = piece.bytes->size;
    header.data_sum = checksum({piece.bytes->data.get(), piece.bytes->size});
    header.head_sum = head_sum(header, piece.tokens);
    static std::atomic<uint64_t> parts{0};
    const fs::path part = folder / fmt::format("{}-{}-{}.part", piece.bytes->file, ::getpid(), ++parts);
    bool whole = false;
    {
      File file(part, O_WRONLY | O_CREAT | O_EXCL);
      whole = file.is_open() && file.write(&header, sizeof(header)) &&
              file.write(piece.tokens.data(), piece.tokens.size() * sizeof(int32_t)) &&
              file.write(piece.bytes->data.get(), piece.bytes->size);
    }
    if (whole) fs::rename(part, path, error);
    if (whole && !error) return bytes;
    fs::remove(part, error);
    warn("cannot be written to");
    return 0;
  }

  /// Warns once: a disk that is full or read-only usually stays so.
  void warn(const char* why) const {
    if (warned.exchange(true)) return;
    log::warn(fmt::format("[prefix cache] {} {}: prompts are kept in memory only", folder.string(), why));
  }
};

PrefixFiles::PrefixFiles(const fs::path& dir, const std::string& identity, uint64_t budget_bytes)
    : folder_(dir / identity.substr(0, kFolderName)), identity_(identity), writer_(std::make_shared<Writer>()) {
  if (!is_hex(identity, 64)) throw Error(ErrorKind::internal, "[prefix cache] an identity has 64 hex digits");
  std::error_code error;
  fs::create_directories(folder_, error);
  if (!error) fs::permissions(folder_, fs::perms::owner_all, error);
  if (error) {
    throw Error(ErrorKind::io,
                fmt::format("the prefix cache's folder {} cannot be made: {}", folder_.string(), error.message()));
  }
  writer_->dir = dir;
  writer_->folder = folder_;
  writer_->identity = identity;
  writer_->budget = budget_bytes;
  writer_->total = trim(dir, budget_bytes);
  writer_->thread = std::thread([writer = writer_] { writer->run(); });
}

PrefixFiles::~PrefixFiles() {
  {
    const std::lock_guard lock(writer_->mutex);
    writer_->closed = true;
  }
  writer_->wake.notify_one();
  writer_->thread.join();
}

std::vector<PrefixFiles::Piece> PrefixFiles::list() {
  std::vector<Piece> all;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != kSuffix || !is_ours(it->path())) continue;
    File file(it->path(), O_RDONLY);
    auto head = read_head(file, identity_);
    if (!head) {
      remove_with_warning(it->path());
      continue;
    }
    auto bytes = std::make_shared<PrefixBytes>();
    bytes->from = head->first.from;
    bytes->tokens = head->first.tokens;
    bytes->is_state = head->first.is_state != 0;
    bytes->size = head->first.data_bytes;
    bytes->file = it->path().filename().string();
    all.push_back(
        {std::string(head->first.scope, sizeof(head->first.scope)), std::move(head->second), std::move(bytes)});
  }
  std::sort(all.begin(), all.end(), [](const Piece& a, const Piece& b) {
    return a.bytes->from != b.bytes->from ? a.bytes->from < b.bytes->from : a.bytes->is_state < b.bytes->is_state;
  });
  return all;
}

std::string PrefixFiles::name_of(const std::string& scope, std::span<const int32_t> tokens, int from, bool is_state) {
  Digest digest(Digest::Kind::sha256);
  digest.add(fmt::format("{}\n{}\n", scope, is_state ? "state" : "block"));
  digest.add({reinterpret_cast<const char*>(tokens.data()), tokens.size_bytes()});
  return fmt::format("{}-{}{}", from, digest.hex().substr(0, kFileDigest), kSuffix);
}

void PrefixFiles::write(Piece piece) {
  {
    const std::lock_guard lock(writer_->mutex);
    if (writer_->waiting_bytes + piece.bytes->size > kMaxWaiting) return;
    writer_->waiting_bytes += piece.bytes->size;
    writer_->waiting.push_back(std::move(piece));
  }
  writer_->wake.notify_one();
}

std::shared_ptr<const PrefixBytes> PrefixFiles::read(const PrefixBytes& bytes) {
  const fs::path path = folder_ / bytes.file;
  File file(path, O_RDONLY);
  if (!file.is_open()) return nullptr;  // not written yet, or trimmed
  const auto head = read_head(file, identity_);
  auto whole = std::make_shared<PrefixBytes>();
  if (head && head->first.from == bytes.from && head->first.tokens == bytes.tokens &&
      head->first.data_bytes == bytes.size) {
    whole->data = std::make_unique_for_overwrite<std::byte[]>(bytes.size);
    if (file.read(whole->data.get(), bytes.size) && checksum({whole->data.get(), bytes.size}) == head->first.data_sum) {
      whole->from = bytes.from;
      whole->tokens = bytes.tokens;
      whole->is_state = bytes.is_state;
      whole->size = bytes.size;
      whole->file = bytes.file;
      return whole;
    }
  }
  remove_with_warning(path);
  return nullptr;
}

void PrefixFiles::touch(std::vector<std::string> files) {
  {
    const std::lock_guard lock(writer_->mutex);
    constexpr size_t kMaxUsed = 1 << 16;
    auto& used = writer_->used;
    if (used.size() < kMaxUsed) used.insert(used.end(), files.begin(), files.end());
  }
  writer_->wake.notify_one();
}

uint64_t PrefixFiles::bytes() const {
  const std::lock_guard lock(writer_->mutex);
  return writer_->total;
}

void PrefixFiles::flush() {
  std::unique_lock lock(writer_->mutex);
  writer_->idle.wait(lock, [&] { return writer_->waiting.empty() && !writer_->busy; });
}

}  // namespace mlxk
