#include "bench_run.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>

#include "base/error.h"

namespace mlxk {

namespace {
using Clock = std::chrono::steady_clock;

/// When the tokens of each request came. The worker writes, we wait.
class Recorder {
 public:
  explicit Recorder(size_t requests) : tokens_(requests), running_(requests) {}

  void take(size_t request, const Event& event) {
    const auto now = Clock::now();
    const std::lock_guard lock(mutex_);
    if (std::holds_alternative<TokenEvent>(event)) tokens_[request].push_back(now);
    if (const auto* failed = std::get_if<FailedEvent>(&event)) failure_ = *failed;
    const bool last = std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event);
    if (last && --running_ == 0) ended_.notify_one();
  }

  /// False when requests still ran a twentieth of a second later.
  bool wait() {
    std::unique_lock lock(mutex_);
    return ended_.wait_for(lock, std::chrono::milliseconds(50), [&] { return running_ == 0; });
  }

  /// After the end.
  const std::vector<std::vector<Clock::time_point>>& tokens() const { return tokens_; }
  const std::optional<FailedEvent>& failure() const { return failure_; }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<std::vector<Clock::time_point>> tokens_;
  size_t running_;
  std::optional<FailedEvent> failure_;
};

std::vector<int32_t> random_prompt(int64_t length, int64_t vocab_size, unsigned seed) {
  std::mt19937 random(seed);  // not a distribution: theirs differ between libraries
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
    if (static_cast<int64_t>(times.size()) != point.generate) {
      throw Error(ErrorKind::internal, "the engine gave " + std::to_string(times.size()) + " tokens instead of " +
                                           std::to_string(point.generate));
    }
    firsts.push_back(seconds(times.front() - start));
    all_started = std::max(all_started, times.front());
    end = std::max(end, times.back());
  }
  int64_t decoded = 0;
  for (const auto& times : tokens) {
    decoded += std::count_if(times.begin(), times.end(), [&](auto time) { return time > all_started; });
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
  const auto recorder = std::make_shared<Recorder>(static_cast<size_t>(point.batch));
  std::vector<GenerateRequest> requests(static_cast<size_t>(point.batch));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].prompt = random_prompt(point.prompt, model->facts().vocab_size, static_cast<unsigned>(i));
    requests[i].sampling.temperature = 0;
    requests[i].max_tokens = point.generate;
  }
  std::vector<Ticket> tickets;
  const auto start = Clock::now();
  for (size_t i = 0; i < requests.size(); ++i) {
    tickets.push_back(
        worker.submit(model, std::move(requests[i]), [recorder, i](const Event& event) { recorder->take(i, event); }));
  }
  bool cancelled = false;
  while (!recorder->wait()) {
    if (cancelled || !stop_wanted()) continue;
    cancelled = true;
    for (Ticket& ticket : tickets) ticket.cancel();
  }
  if (cancelled) throw Error(ErrorKind::cancelled, "interrupted");
  if (recorder->failure()) throw Error(recorder->failure()->kind, recorder->failure()->message);
  return evaluate(point, recorder->tokens(), start);
}

}  // namespace mlxk
