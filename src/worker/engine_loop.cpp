#include "worker/engine_loop.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "base/elapsed.h"
#include "base/error.h"
#include "base/lost_device.h"
#include "base/out_of_memory.h"
#include "worker/backend.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

constexpr std::chrono::seconds kCacheFactsAge{1};
// The bounds of Retry-After, in seconds.
constexpr double kShortestRetry = 1, kLongestRetry = 600;
// No model takes a longer text; keeps kv_bytes within its type.
constexpr int64_t kMaxTokens = int64_t{1} << 31;

FailedEvent failure_of(const std::exception& e) {
  if (is_lost_device(e)) {
    return {ErrorKind::internal, fmt::format("the GPU failed; restart the process: {}", e.what())};
  }
  const auto* error = dynamic_cast<const Error*>(&e);
  if (error) return {error->kind(), e.what()};
  if (is_out_of_memory(e)) return {ErrorKind::memory, "out of memory"};
  return {ErrorKind::internal, e.what()};
}

bool is_cancelled(const Job& job) { return job.cancelled->load(std::memory_order_relaxed); }

bool is_late(const Job& job, Job::Clock::time_point now) { return job.deadline && now >= *job.deadline; }

std::string in_seconds(double time) { return fmt::format("{:.{}f} s", time, time < 10 ? 1 : 0); }

}  // namespace

EngineLoop::EngineLoop(std::unique_ptr<Backend> backend, WorkerLimits limits, Mailbox& mailbox)
    : mailbox_(mailbox), limits_(limits), backend_(std::move(backend)) {
  if (limits_.max_running == 0) throw Error(ErrorKind::invalid, "at least 1 request must be able to run, got 0");
}

uint64_t EngineLoop::add_model(std::unique_ptr<EngineModel> model) {
  models_[++last_id_].loaded = std::move(model);
  return last_id_;
}

bool EngineLoop::busy() const {
  return waiting_.size() > 0 ||
         std::any_of(models_.begin(), models_.end(), [](const auto& one) { return !one.second.running.empty(); });
}

void EngineLoop::take_mail() {
  while (true) {
    std::vector<uint64_t> unloads;
    std::deque<Job> jobs;
    {
      const std::lock_guard lock(mailbox_.mutex);
      unloads.swap(mailbox_.unloads);
      jobs.swap(mailbox_.jobs);
    }
    if (unloads.empty() && jobs.empty()) return;
    for (const uint64_t id : unloads) models_.erase(id);
    for (Job& job : jobs) arrive(std::move(job));
    // A refused job may have held the last handle of a model, which is unloaded before the next load.
  }
}

void EngineLoop::iterate() {
  mailbox_.board.beat();
  take_mail();
  end_unwanted();
  admit();
  for (auto& [id, model] : models_) step(model);
  publish();
}

void EngineLoop::run_long(const std::filesystem::path& path, const ProgressSink& progress, bool others_go_on,
                          const std::function<void(const ProgressSink&)>& task) {
  struct Shown {
    explicit Shown(StatusBoard& board, const std::filesystem::path& path) : board(board) { board.load_begins(path); }
    ~Shown() { board.load_ends(); }
    StatusBoard& board;
  } shown(mailbox_.board, path);
  auto since = Clock::now();
  task([&](const std::string& what, int64_t done, int64_t total) {
    const auto piece = Clock::now() - since;
    shown.board.load_progress(done, total);
    if (progress) progress(what, done, total);
    if (!others_go_on) return;
    const auto begin = Clock::now();
    do iterate();
    while (busy() && Clock::now() - begin < piece);
    since = Clock::now();
  });
}

void EngineLoop::cancel_all() {
  waiting_.remove_if([](Job& job) {
    job.sink(DoneEvent{FinishReason::cancelled, {.prompt_tokens = job.prompt_tokens}, {}});
    return true;
  });
  for (auto& [id, model] : models_) {
    for (Running& running : model.running) give(model, running, running.sequence->cancelled());
    model.running.clear();
  }
}

void EngineLoop::arrive(Job job) {
  try {
    const Model& model = model_of(job);
    job.work->check(*model.loaded);
    const int64_t context = model.loaded->facts().context_length;
    const int64_t longest = context > 0 ? std::min(context, kMaxTokens) : kMaxTokens;
    job.max_tokens = std::min(job.max_tokens, std::max<int64_t>(longest - job.prompt_tokens, 1));
    const uint64_t media = job.work->media_bytes(*model.loaded);
    const uint64_t keys_and_values = model.loaded->kv_bytes(job.prompt_tokens + job.max_tokens);
    job.kv_bytes = keys_and_values + media;
    if (job.kv_bytes > limits_.kv_bytes) {
      const std::string beside = media > 0 ? fmt::format(", their images and recordings {} more", media) : "";
      throw Error(ErrorKind::invalid,
                  fmt::format("{} prompt tokens and up to {} of the answer need {} bytes of keys and values{}; {} are "
                              "set aside for all requests",
                              job.prompt_tokens, job.max_tokens, keys_and_values, beside, limits_.kv_bytes));
    }
    check_deadline(job, wait_s(model, waiting_.ahead_of_new(job.scope, job.model->id())));
  } catch (const std::exception& e) {
    refuse(job, failure_of(e));
    return;
  }
  waiting_.add(std::move(job));
}

void EngineLoop::end_unwanted() {
  const auto now = Clock::now();
  waiting_.remove_if([&](Job& job) {
    const double queued_s = seconds(now - job.submitted);
    if (is_cancelled(job)) {
      job.sink(DoneEvent{FinishReason::cancelled, {.prompt_tokens = job.prompt_tokens}, {.queued_s = queued_s}});
    } else if (is_late(job, now)) {
      refuse(job, {ErrorKind::deadline,
                   fmt::format("the deadline passed; the request had waited {}", in_seconds(queued_s))});
    } else {
      return false;
    }
    return true;
  });
  for (auto& [id, model] : models_) {
    std::erase_if(model.running, [&, &on = model](Running& running) {
      if (is_cancelled(running.job)) {
        give(on, running, running.sequence->cancelled());
      } else if (is_late(running.job, now)) {
        const std::string message = fmt::format("the deadline passed; {}", running.progress.text());
        give(on, running, FailedEvent{ErrorKind::deadline, message});
      }
      return running.ended;
    });
  }
}

void EngineLoop::admit() {
  uint64_t kv_in_use = 0;
  for (const auto& [id, model] : models_) {
    for (const Running& running : model.running) kv_in_use += running.job.kv_bytes;
  }
  const auto has_room = [&](const Job& job) { return model_of(job).running.size() < limits_.max_running; };
  while (const Job* next = waiting_.next(has_room)) {
    // The next job in turn waits for memory: no other job may take that.
    if (next->kv_bytes > limits_.kv_bytes - kv_in_use) break;
    const uint64_t bytes = next->kv_bytes;
    if (start(waiting_.take(next))) kv_in_use += bytes;
  }
  while (waiting_.size() > limits_.max_waiting) {
    const Job job = waiting_.shed();
    const std::string message = fmt::format("{} requests are already waiting", limits_.max_waiting);
    refuse(job, {ErrorKind::unavailable, message, retry_after_s(job)});
  }
}

bool EngineLoop::start(Job job) {
  Model& model = model_of(job);
  try {
    check_deadline(job, 0);
    auto sequence = job.work->start(*model.loaded);
    const auto now = Clock::now();
    model.running.push_back({std::move(job), std::move(sequence), Progress(now), now});
    return true;
  } catch (const std::exception& e) {
    refuse(job, failure_of(e));
    return false;
  }
}

void EngineLoop::step(Model& model) {
  auto& running = model.running;
  if (!running.empty()) {
    std::vector<Sequence*> sequences;
    for (const Running& one : running) sequences.push_back(one.sequence.get());
    try {
      model.loaded->step(sequences, [&](size_t index, const Event& event) { give(model, running[index], event); });
    } catch (const std::exception& e) {
      // A failed evaluation may belong to any array in flight on this model: no cache of it can be trusted any more.
      const FailedEvent failure = failure_of(e);
      for (Running& one : running) one.sequence.reset();
      for (Running& one : running) {
        if (!one.ended) give(model, one, failure);
      }
    }
    std::erase_if(running, [](const Running& one) { return one.ended; });
  }
  const auto now = Clock::now();
  const bool rests = running.empty();
  if (now - model.cache_seen < kCacheFactsAge && rests == model.rested) return;
  model.cache = model.loaded->cache_facts();
  model.cache_seen = now;
  model.rested = rests;
}

void EngineLoop::give(Model& model, Running& running, const Event& event) {
  const auto now = Clock::now();
  running.progress.take(event, now);
  if (const auto* done = std::get_if<DoneEvent>(&event)) {
    running.ended = true;
    ++status_.ended;
    status_.prompt_tokens += static_cast<uint64_t>(done->usage.prompt_tokens - done->usage.cached_tokens);
    status_.cached_tokens += static_cast<uint64_t>(done->usage.cached_tokens);
    model.throughput.learn(running.progress, &done->usage, now);
    DoneEvent whole = *done;
    whole.timings.queued_s = seconds(running.started - running.job.submitted);
    running.job.sink(whole);
    return;
  }
  if (std::holds_alternative<FailedEvent>(event)) {
    running.ended = true;
    ++status_.ended;
    model.throughput.learn(running.progress, nullptr, now);
  } else if (std::holds_alternative<TokenEvent>(event)) {
    ++status_.tokens;
    tokens_.add(1, now);
  }
  running.job.sink(event);
}

void EngineLoop::refuse(const Job& job, const FailedEvent& failure) {
  ++status_.refused;
  job.sink(failure);
}

EngineLoop::Model& EngineLoop::model_of(const Job& job) { return models_.at(job.model->id()); }

/// The time that a request waits while `ahead` others start before it; 0: unknown.
double EngineLoop::wait_s(const Model& model, size_t ahead) const {
  const size_t running = model.running.size();
  const size_t free = limits_.max_running - running;
  if (ahead < free || running == 0) return 0;
  return static_cast<double>(ahead - free + 1) * model.throughput.request_s() / static_cast<double>(running);
}

/// The time until the jobs that wait now have started.
double EngineLoop::retry_after_s(const Job& job) {
  const Model& model = model_of(job);
  const auto waiting = static_cast<double>(waiting_.count(job.model->id()) + 1);
  const auto places = static_cast<double>(std::max<size_t>(model.running.size(), 1));
  return std::clamp(waiting * model.throughput.request_s() / places, kShortestRetry, kLongestRetry);
}

/// Throws deadline for a request that, after `wait` seconds, cannot meet its deadline at the measured throughput.
void EngineLoop::check_deadline(const Job& job, double wait) {
  if (!job.deadline) return;
  const Model& model = model_of(job);
  double needed = wait;
  std::string parts = wait > 0 ? fmt::format("{} of waiting", in_seconds(wait)) : "";
  const auto add = [&](int64_t tokens, double per_second, const char* what) {
    if (per_second <= 0) return;
    needed += static_cast<double>(tokens) / per_second;
    parts += fmt::format("{}{} {} tokens at {:.1f} a second", parts.empty() ? "" : ", ", tokens, what, per_second);
  };
  add(job.prompt_tokens - job.work->cached_tokens(*model.loaded), model.throughput.prefill_tokens_per_s(), "prompt");
  if (job.max_tokens_named) add(job.max_tokens, model.throughput.decode_tokens_per_s(), "answer");
  const double left = seconds(*job.deadline - Clock::now());
  if (left <= 0 || needed <= left) return;  // a deadline that has passed has an error of its own
  throw Error(ErrorKind::deadline, fmt::format("the request would take {} ({}), its deadline is in {}",
                                               in_seconds(needed), parts, in_seconds(left)));
}

void EngineLoop::publish() {
  status_.running = 0;
  status_.waiting = waiting_.size();
  status_.models.clear();
  for (const auto& [id, model] : models_) {
    ModelStatus one{.id = id, .running = model.running.size(), .waiting = waiting_.count(id)};
    for (const Running& running : model.running) one.kv_bytes += running.job.kv_bytes;
    one.prefill_tokens_per_s = model.throughput.prefill_tokens_per_s();
    one.decode_tokens_per_s = model.throughput.decode_tokens_per_s();
    one.cache = model.cache;
    status_.running += one.running;
    status_.models.push_back(one);
  }
  mailbox_.board.publish(status_, tokens_);
}

}  // namespace mlxk
