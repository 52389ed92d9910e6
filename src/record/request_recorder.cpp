#include "record/request_recorder.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "hub/content_hash.h"
#include "json/json.h"

namespace mlxk {

namespace {
constexpr size_t kMaxWaiting = 4096;  // answers not written yet; further ones are dropped with a warning
}

/// The queue that the sinks of running requests fill and the writer empties.
struct RequestRecorder::Shared {
  DeviceFacts device;
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<RecordedRun> waiting;
  bool closed = false;

  void add(RecordedRun run) {
    const std::lock_guard lock(mutex);
    if (closed) return;
    if (waiting.size() == kMaxWaiting) {
      log::warn("--record: the disk is too slow, an answer is not recorded");
      return;
    }
    waiting.push_back(std::move(run));
    changed.notify_one();
  }
};

class RequestRecorder::Writer {
 public:
  Writer(std::shared_ptr<Shared> shared, std::filesystem::path folder, bool redact)
      : shared_(std::move(shared)), folder_(std::move(folder)), redact_(redact), thread_([this] { run(); }) {}
  ~Writer() {
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->closed = true;
      shared_->changed.notify_one();
    }
    thread_.join();
  }

 private:
  void run() {
    std::unique_lock lock(shared_->mutex);
    while (true) {
      shared_->changed.wait(lock, [&] { return shared_->closed || !shared_->waiting.empty(); });
      if (shared_->waiting.empty()) return;
      RecordedRun run = std::move(shared_->waiting.front());
      shared_->waiting.pop_front();
      lock.unlock();
      write(std::move(run));
      lock.lock();
    }
  }

  void write(RecordedRun run) {
    try {
      auto& hash = hashes_[run.model.path];
      if (!hash) hash = hash_model(run.model.path).value_or("");
      run.content_hash = *hash;
      std::string time = run.created_at;  // without characters that some file systems do not allow
      std::erase_if(time, [](char c) { return c == ':' || c == '-'; });
      const std::string name = fmt::format("{}-{}-{:06}.json", time, getpid(), ++count_);
      write_file_atomic(folder_ / name, dump_json(record_json(run, redact_), -1));
    } catch (const Error& error) {
      log::warn(fmt::format("--record: an answer is not recorded: {}", error.what()));
    }
  }

  std::shared_ptr<Shared> shared_;
  std::filesystem::path folder_;
  bool redact_;
  std::map<std::filesystem::path, std::optional<std::string>> hashes_;
  int count_ = 0;
  std::thread thread_;  // the last member: it uses the others
};

RequestRecorder::RequestRecorder(std::filesystem::path folder, bool redact, DeviceFacts device)
    : shared_(std::make_shared<Shared>()) {
  shared_->device = std::move(device);
  std::error_code error;
  if (fs::create_directories(folder, error)) {
    fs::permissions(folder, fs::perms::owner_all, error);
  } else if (!error && !fs::is_directory(folder)) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  if (!error && access(folder.c_str(), W_OK) != 0) error = std::error_code(errno, std::generic_category());
  if (error) throw Error(ErrorKind::io, fmt::format("--record {}: {}", folder.string(), error.message()));
  writer_ = std::make_unique<Writer>(shared_, std::move(folder), redact);
}

RequestRecorder::~RequestRecorder() = default;

EventSink RequestRecorder::record(GenerateRequest& request, const ModelRef& model, std::optional<ConstraintSource> held,
                                  EventSink sink) {
  if (!request.sampling.seed) request.sampling.seed = std::random_device{}();
  request.top_logprobs = std::max(request.top_logprobs, 0);
  const auto run = std::make_shared<RecordedRun>();
  run->version = MLXK_VERSION;
  run->device = shared_->device;
  run->created_at = utc_now();
  run->model = model;
  run->prompt_tokens = static_cast<int64_t>(request.prompt.size());
  run->constrained = request.constraint != nullptr;
  run->held = std::move(held);
  run->request = request;
  run->request.constraint = nullptr;
  return [shared = shared_, run, sink = std::move(sink)](const Event& event) {
    if (const auto* token = std::get_if<TokenEvent>(&event)) {
      run->tokens.push_back({token->token, token->logprob, {}});
    } else if (const auto* done = std::get_if<DoneEvent>(&event)) {
      run->reason = done->reason;
      shared->add(std::move(*run));
    }
    sink(event);
  };
}

}  // namespace mlxk
