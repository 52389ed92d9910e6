#include "hub/download.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "hub/file_stream.h"
#include "hub/locks.h"
#include "hub/partial_file.h"
#include "hub/retry.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

fs::path partial_path(const fs::path& blobs, const HubFile& file) { return blobs / (file.etag() + ".mlxk.incomplete"); }

/// The partial file of older versions of huggingface_hub: its content is a prefix of the file.
fs::path foreign_path(const fs::path& blobs, const HubFile& file) { return blobs / (file.etag() + ".incomplete"); }

bool has_blob(const fs::path& blobs, const HubFile& file) {
  std::error_code error;
  return fs::is_regular_file(blobs / file.etag(), error) && fs::file_size(blobs / file.etag(), error) == file.size &&
         !error;
}

/// The download of one content. Its fields, except the atomics, are guarded by the download's mutex or belong to the
/// one worker that opens or verifies it.
struct Job {
  const HubFile* file;
  /// opening: one worker locks, opens and begins it; ranged: any worker may take a piece; single: one gets it all.
  enum class State { opening, ranged, single, verifying } state = State::opening;
  std::atomic<bool> waiting = false;  // for another process
  std::atomic<uint64_t> at_hand = 0;
  FileLock lock;
  std::unique_ptr<PartialFile> partial;
  std::vector<bool> taken;  // pieces that a worker has or had
  size_t pieces_left = 0;
  bool resumed = false;  // an earlier process downloaded a part
  int bad_hashes = 0;
};

class Download {
 public:
  Download(const HubClient& hub, const HubRepo& repo, const std::vector<HubFile>& files, fs::path blobs, fs::path locks,
           const DownloadOptions& options)
      : hub_(hub), repo_(repo), blobs_(std::move(blobs)), locks_(std::move(locks)), options_(options) {
    for (const auto& file : files) {
      auto job = std::make_unique<Job>();
      job->file = &file;
      set_at_hand(*job, bytes_at_hand(blobs_, file));
      size_ += file.size;
      if (has_blob(blobs_, file)) {
        ++done_;
      } else {
        queued_.push_back(job.get());
      }
      jobs_.push_back(std::move(job));
    }
  }

  uint64_t run() {
    std::vector<std::thread> workers;
    running_ = queued_.empty() ? 0 : std::max(1, options_.connections);
    for (int i = running_; i > 0; --i) workers.emplace_back([this] { work(); });
    std::exception_ptr mine;
    try {
      watch();
    } catch (...) {
      mine = std::current_exception();
      stop_ = true;
      changed_.notify_all();
    }
    for (auto& worker : workers) worker.join();
    if (mine) std::rethrow_exception(mine);
    if (error_) std::rethrow_exception(error_);
    if (cancelled()) throw Error(ErrorKind::cancelled, "interrupted");
    return received_;
  }

 private:
  struct Task {
    Job* job;
    std::optional<size_t> piece;  // none: the file is to be opened
  };

  bool cancelled() const { return stop_ || (options_.cancelled && options_.cancelled()); }
  void check_cancelled() const {
    if (cancelled()) throw Error(ErrorKind::cancelled, "interrupted");
  }

  /// Reports ten times a second until all workers are done.
  void watch() {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool over = changed_.wait_for(lock, std::chrono::milliseconds(100), [&] { return running_ == 0; });
      DownloadProgress progress = look();
      lock.unlock();
      if (options_.on_progress) options_.on_progress(progress);
      if (cancelled()) changed_.notify_all();
      lock.lock();
      if (over) return;
    }
  }

  DownloadProgress look() {
    DownloadProgress progress{
        .done = at_hand_, .size = size_, .received = received_, .files_done = done_, .files = jobs_.size()};
    for (const Job* job : begun_) {
      const auto state = job->waiting                          ? FileProgress::State::waiting
                         : job->state == Job::State::verifying ? FileProgress::State::verifying
                                                               : FileProgress::State::receiving;
      progress.active.push_back({job->file->path, job->at_hand, job->file->size, state});
    }
    progress.finished.swap(finished_);
    progress.notes.swap(notes_);
    return progress;
  }

  void work() {
    try {
      HttpClient http;
      while (const auto task = take()) {
        if (task->piece) {
          receive(http, *task->job, *task->piece);
        } else {
          open(http, *task->job);
        }
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!stop_) error_ = std::current_exception();
      stop_ = true;
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_all();
  }

  /// The next task of a worker: pieces of open files come before new files. None: finished or cancelled.
  std::optional<Task> take() {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (cancelled()) return std::nullopt;
      for (Job* job : begun_) {
        const auto piece = std::find(job->taken.begin(), job->taken.end(), false);
        if (job->state != Job::State::ranged || piece == job->taken.end()) continue;
        *piece = true;
        return Task{job, static_cast<size_t>(piece - job->taken.begin())};
      }
      if (!queued_.empty()) {
        begun_.push_back(queued_.front());
        queued_.pop_front();
        return Task{begun_.back(), std::nullopt};
      }
      if (begun_.empty()) return std::nullopt;
      changed_.wait_for(lock, std::chrono::milliseconds(200));
    }
  }

  void open(HttpClient& http, Job& job) {
    const fs::path lock_path = locks_ / (job.file->etag() + ".lock");
    FileLock file_lock = wait_for_lock(lock_path, [&] {
      if (!job.waiting.exchange(true))
        note(fmt::format("{}: waiting for another process that downloads this file", job.file->path));
      return cancelled();
    });
    job.waiting = false;
    check_cancelled();
    if (has_blob(blobs_, *job.file)) return finish(job, true);  // by another process meanwhile
    auto partial =
        std::make_unique<PartialFile>(partial_path(blobs_, *job.file), job.file->size, hub_.settings().piece_bytes);
    partial->adopt(foreign_path(blobs_, *job.file));
    {
      const std::lock_guard lock(mutex_);
      job.lock = std::move(file_lock);
      job.partial = std::move(partial);
      job.resumed = job.partial->at_hand() > 0;
    }
    begin(http, job);
  }

  /// Starts with the missing bytes; the first reply decides whether other workers may help.
  void begin(HttpClient& http, Job& job) {
    {
      const std::lock_guard lock(mutex_);
      job.state = Job::State::opening;
      set_at_hand(job, job.partial->at_hand());
    }
    if (job.partial->complete()) return verify(http, job);
    receive(http, job, first_missing(*job.partial));
  }

  static size_t first_missing(const PartialFile& partial) {
    size_t piece = 0;
    while (partial.done(piece) == partial.length(piece)) ++piece;
    return piece;
  }

  /// From now on other workers may take the missing pieces but `mine`. Called by the one worker that has the file.
  void share(Job& job, size_t mine) {
    const std::lock_guard lock(mutex_);
    const PartialFile& partial = *job.partial;
    job.taken.assign(partial.pieces(), true);
    job.pieces_left = 0;
    for (size_t piece = 0; piece < partial.pieces(); ++piece) {
      if (partial.done(piece) == partial.length(piece)) continue;
      job.taken[piece] = piece == mine;
      ++job.pieces_left;
    }
    job.state = Job::State::ranged;
    changed_.notify_all();
  }

  /// Downloads `piece`, through broken connections; the worker of the last piece verifies the file.
  void receive(HttpClient& http, Job& job, size_t piece) {
    PartialFile& partial = *job.partial;
    Backoff backoff(hub_.settings().tries);
    for (;;) {
      wait_for_turn();
      const bool alone = job_state(job) != Job::State::ranged;
      if (alone) piece = first_missing(partial);
      FileStream stream(hub_, repo_, *job.file, partial, piece, alone);
      stream.on_ranges = [&](bool ranges) {
        if (ranges) {
          share(job, piece);
        } else {
          set_state(job, Job::State::single);
        }
      };
      stream.on_bytes = [&](uint64_t bytes) {
        job.at_hand += bytes;
        at_hand_ += bytes;
        received_ += bytes;
      };
      const HttpReply response = stream.receive(http, [this] { return cancelled(); });
      check_cancelled();
      if (stream.complete()) break;
      if (stream.received() > 0) backoff.reset();
      std::chrono::milliseconds wait{};
      const std::string problem = without_token(stream.problem(response), hub_.settings());
      if (!backoff.next(response, wait)) {
        throw Error(ErrorKind::network, fmt::format("{}: {}", job.file->path, problem),
                    "what was downloaded is kept; run it again to continue");
      }
      note(fmt::format("{}: {}; retrying in {:.1f} s", job.file->path, problem,
                       static_cast<double>(wait.count()) / 1000));
      if (retry_after(response).count() > 0) put_off(wait);
      wait_for(wait, [this] { return cancelled(); });
    }
    bool last;
    {
      const std::lock_guard lock(mutex_);
      job.pieces_left = job.state == Job::State::ranged ? job.pieces_left - 1 : 0;
      last = job.pieces_left == 0;
    }
    if (last) verify(http, job);
  }

  void verify(HttpClient& http, Job& job) {
    set_state(job, Job::State::verifying);
    const HubFile& file = *job.file;
    if (job.partial->has_hash(file.sha256, file.git_hash)) {
      job.partial->finish(blobs_ / file.etag());
      return finish(job, false);
    }
    // Bytes of an earlier process may be damaged by a power loss; the hub gets a second chance too.
    const bool hopeless = !job.resumed && ++job.bad_hashes == 2;
    job.resumed = false;
    job.partial->reset();
    if (hopeless) {
      std::error_code ignored;
      fs::remove(partial_path(blobs_, file), ignored);
      throw Error(ErrorKind::bad_model, fmt::format("{}: the content is not the one that the hub lists: its {} differs",
                                                    file.path, file.sha256.empty() ? "git hash" : "SHA-256"));
    }
    note(fmt::format("{}: its hash is not the one that the hub lists; downloading it again", file.path));
    begin(http, job);
  }

  void finish(Job& job, bool had) {
    const std::lock_guard lock(mutex_);
    job.partial.reset();
    job.lock = FileLock();
    set_at_hand(job, job.file->size);
    begun_.erase(std::find(begun_.begin(), begun_.end(), &job));
    ++done_;
    if (!had) finished_.push_back(job.file->path);
    changed_.notify_all();
  }

  void set_at_hand(Job& job, uint64_t bytes) { at_hand_ += bytes - job.at_hand.exchange(bytes); }
  Job::State job_state(const Job& job) {
    const std::lock_guard lock(mutex_);
    return job.state;
  }
  void set_state(Job& job, Job::State state) {
    const std::lock_guard lock(mutex_);
    job.state = state;
    changed_.notify_all();
  }
  void note(std::string text) {
    const std::lock_guard lock(mutex_);
    notes_.push_back(std::move(text));
  }

  /// Makes all workers pause, as the hub asked.
  void put_off(std::chrono::milliseconds wait) {
    const std::lock_guard lock(mutex_);
    const auto before = std::max(not_before_, Clock::now());
    not_before_ = std::max(not_before_, Clock::now() + wait);
    paused_ += not_before_ - before;
    if (paused_ > kLongestAskedWait) {
      throw Error(ErrorKind::network, "the hub repeatedly asks to wait",
                  "what was downloaded is kept: pull again later");
    }
  }
  void wait_for_turn() {
    Clock::time_point until;
    {
      const std::lock_guard lock(mutex_);
      until = not_before_;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (left.count() > 0) wait_for(left, [this] { return cancelled(); });
    check_cancelled();
  }

  const HubClient& hub_;
  const HubRepo& repo_;
  const fs::path blobs_, locks_;
  const DownloadOptions& options_;
  uint64_t size_ = 0;
  std::vector<std::unique_ptr<Job>> jobs_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int running_ = 0;          // workers
  std::deque<Job*> queued_;  // not yet begun, in order
  std::vector<Job*> begun_;  // and not yet done
  size_t done_ = 0;
  std::atomic<bool> stop_ = false;
  std::atomic<uint64_t> received_ = 0, at_hand_ = 0;
  std::exception_ptr error_;
  Clock::time_point not_before_{};  // the hub asked for a pause until then
  Clock::duration paused_{};        // in all
  std::vector<std::string> finished_, notes_;
};

}  // namespace

uint64_t bytes_at_hand(const fs::path& blobs, const HubFile& file) {
  if (has_blob(blobs, file)) return file.size;
  if (const uint64_t own = partial_bytes(partial_path(blobs, file), file.size)) return own;
  std::error_code error;
  const uint64_t foreign = fs::file_size(foreign_path(blobs, file), error);
  return error || foreign > file.size ? 0 : foreign;
}

uint64_t download_blobs(const HubClient& hub, const HubRepo& repo, const std::vector<HubFile>& files,
                        const fs::path& repo_folder, const fs::path& locks, const DownloadOptions& options) {
  return Download(hub, repo, files, repo_folder / "blobs", locks, options).run();
}

}  // namespace mlxk
