#include "serving/token_runs.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
constexpr std::chrono::milliseconds kPollRuns{50};

/// The tokens of all requests so far. The worker writes them; the caller waits.
class RunEvents {
 public:
  explicit RunEvents(size_t requests) : runs_(requests), running_(requests) {}

  void take(size_t request, const Event& event) {
    const std::lock_guard lock(mutex_);
    TokenRun& run = runs_[request];
    if (const auto* token = std::get_if<TokenEvent>(&event)) run.tokens.push_back(*token);
    if (const auto* prompt = std::get_if<PromptEvent>(&event)) run.prompt = prompt->tokens;
    const auto* done = std::get_if<DoneEvent>(&event);
    const auto* failed = std::get_if<FailedEvent>(&event);
    if (done) run.done = *done;
    if (failed && !failure_) failure_ = *failed;
    if ((done || failed) && --running_ == 0) changed_.notify_all();
  }

  /// Returns false if nothing has changed for a while.
  bool wait_ended() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPollRuns, [&] { return running_ == 0; });
  }

  /// The results; call it after the end.
  std::vector<TokenRun> take_runs() {
    if (failure_) throw Error(failure_->kind, failure_->message);
    return std::move(runs_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TokenRun> runs_;
  size_t running_;
  std::optional<FailedEvent> failure_;
};
}  // namespace

std::vector<TokenRun> run_tokens(Worker& worker, const std::shared_ptr<const ModelHandle>& model,
                                 std::vector<GenerateRequest> requests, const std::function<bool()>& stop_wanted) {
  const auto events = std::make_shared<RunEvents>(requests.size());
  std::vector<Ticket> tickets;
  for (size_t i = 0; i < requests.size(); ++i) {
    tickets.push_back(
        worker.submit(model, std::move(requests[i]), [events, i](const Event& event) { events->take(i, event); }));
  }
  while (!events->wait_ended()) {
    if (!stop_wanted()) continue;
    for (Ticket& ticket : tickets) ticket.cancel();
    throw Error(ErrorKind::cancelled, "interrupted");
  }
  return events->take_runs();
}

std::optional<TokenDifference> first_difference(std::span<const TokenEvent> first, std::span<const TokenEvent> second) {
  const size_t both = std::min(first.size(), second.size());
  for (size_t i = 0; i < both; ++i) {
    if (first[i].token != second[i].token) return TokenDifference{i, first[i], second[i]};
  }
  if (first.size() == second.size()) return std::nullopt;
  TokenDifference difference{.index = both};
  if (first.size() > both) difference.first = first[both];
  if (second.size() > both) difference.second = second[both];
  return difference;
}

float largest_logprob_gap(std::span<const TokenEvent> first, std::span<const TokenEvent> second) {
  float gap = 0;
  for (size_t i = 0; i < std::min(first.size(), second.size()) && first[i].token == second[i].token; ++i) {
    const float apart = std::abs(first[i].logprob - second[i].logprob);
    if (std::isnan(apart)) return apart;
    gap = std::max(gap, apart);
  }
  return gap;
}

}  // namespace mlxk
