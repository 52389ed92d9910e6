#include "bench/bench_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <optional>
#include <random>

#include "base/error.h"
#include "worker/request.h"

namespace mlxk {

namespace {
using Clock = std::chrono::steady_clock;

/// The arrival times of each request's tokens. The worker writes, we wait.
class Recorder {
 public:
  Recorder(size_t requests, int64_t generate) : tokens_(requests), generate_(generate), running_(requests) {}

  void take(size_t request, const Event& event) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    if (std::holds_alternative<TokenEvent>(event)) take_token(request, now);
    if (const auto* failed = std::get_if<FailedEvent>(&event)) failure_ = *failed;
    if (!std::holds_alternative<DoneEvent>(event) && !std::holds_alternative<FailedEvent>(event)) return;
    if (measured_ < tokens_.size()) ended_early_ = true;
    --running_;
    changed_.notify_one();
  }

  /// Waits a twentieth of a second; returns true once everything is measured or a request has ended.
  bool wait_measured() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(50),
                             [&] { return measured_ == tokens_.size() || ended_early_; });
  }
  void wait_ended() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return running_ == 0; });
  }

  /// After the end.
  const std::vector<std::vector<Clock::time_point>>& tokens() const { return tokens_; }
  const std::optional<FailedEvent>& failure() const { return failure_; }

 private:
  void take_token(size_t request, Clock::time_point now) {
    auto& times = tokens_[request];
    if (times.empty()) ++started_;
    times.push_back(now);
    if (started_ < tokens_.size()) return;
    // The last request to start is measured like the others: the measured tokens begin with its first one.
    if (measured_from_.empty()) {
      for (const auto& each : tokens_) measured_from_.push_back(each.size());
    }
    if (static_cast<int64_t>(times.size() - measured_from_[request]) == generate_ - 1 &&
        ++measured_ == tokens_.size()) {
      changed_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<Clock::time_point>> tokens_;
  std::vector<size_t> measured_from_;  // tokens of each request once all have started
  const int64_t generate_;
  size_t started_ = 0, measured_ = 0;  // requests
  size_t running_;
  bool ended_early_ = false;
  std::optional<FailedEvent> failure_;
};

std::vector<int32_t> random_prompt(int64_t length, int64_t vocab_size, unsigned seed) {
  std::mt19937 random(seed);  // not std:: distributions: theirs differ between libraries
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (auto& id : ids) id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
  return ids;
}

BenchRun evaluate(const BenchPoint& point, const std::vector<std::vector<Clock::time_point>>& tokens,
                  Clock::time_point start) {
  const auto seconds = [](Clock::duration time) { return std::chrono::duration<double>(time).count(); };
  std::vector<double> firsts;
  Clock::time_point all_started = start, end = start;
  for (const auto& times : tokens) {
    firsts.push_back(seconds(times.front() - start));
    all_started = std::max(all_started, times.front());
  }
  int64_t decoded = 0;
  for (const auto& times : tokens) {
    const auto first = std::upper_bound(times.begin(), times.end(), all_started);
    const auto last = first + std::min<int64_t>(times.end() - first, point.generate - 1);
    decoded += last - first;
    if (last > first) end = std::max(end, *(last - 1));
  }
  return {.prefill = static_cast<double>(point.batch * point.prompt) / seconds(all_started - start),
          .decode = end > all_started ? static_cast<double>(decoded) / seconds(end - all_started) : 0,
          .first_token_s = figure_of(firsts).median};
}
}  // namespace

Figure figure_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  const double median = values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
  return {median, median > 0 ? (values.back() - values.front()) / median : 0};
}

BenchRun run_point(Worker& worker, const std::shared_ptr<const ModelHandle>& model, const BenchPoint& point,
                   const std::function<bool()>& stop_wanted) {
  const auto recorder = std::make_shared<Recorder>(static_cast<size_t>(point.batch), point.generate);
  std::vector<GenerateRequest> requests(static_cast<size_t>(point.batch));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt = random_prompt(point.prompt, model->facts().vocab_size, static_cast<unsigned>(i));
    requests[i].sampling.temperature = 0;
    requests[i].max_tokens = std::numeric_limits<int32_t>::max();  // until the last are measured
  }
  std::vector<Ticket> tickets;
  const auto start = Clock::now();
  for (size_t i = 0; i < requests.size(); ++i) {
    tickets.push_back(
        worker.submit(model, std::move(requests[i]), [recorder, i](const Event& event) { recorder->take(i, event); }));
  }
  bool stopped = false;
  while (!stopped && !recorder->wait_measured()) stopped = stop_wanted();
  for (Ticket& ticket : tickets) ticket.cancel();
  recorder->wait_ended();
  if (stopped) throw Error(ErrorKind::cancelled, "interrupted");
  if (recorder->failure()) throw Error(recorder->failure()->kind, recorder->failure()->message);
  for (const auto& times : recorder->tokens()) {
    if (static_cast<int64_t>(times.size()) < point.generate) {
      throw Error(ErrorKind::invalid,
                  fmt::format("the model's context does not hold {} requests of {} + {} tokens that run "
                              "at the same time",
                              point.batch, point.prompt, point.generate));
    }
  }
  return evaluate(point, recorder->tokens(), start);
}

}  // namespace mlxk
