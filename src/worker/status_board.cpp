#include "worker/status_board.h"

namespace mlxk {

namespace {
double seconds_between(StatusBoard::Clock::time_point begin, StatusBoard::Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}
}  // namespace

void StatusBoard::beat() {
  const std::lock_guard lock(mutex_);
  last_turn_ = Clock::now();
  if (!busy_since_) busy_since_ = last_turn_;
}

void StatusBoard::rest() {
  const std::lock_guard lock(mutex_);
  busy_since_.reset();
}

void StatusBoard::load_begins(const std::filesystem::path& path) {
  const std::lock_guard lock(mutex_);
  load_ = {{.path = path}, Clock::now()};
}

void StatusBoard::load_progress(int64_t done, int64_t total) {
  const std::lock_guard lock(mutex_);
  load_->status.done = done;
  load_->status.total = total;
  last_turn_ = Clock::now();
}

void StatusBoard::load_ends() {
  const std::lock_guard lock(mutex_);
  load_.reset();
  last_turn_ = Clock::now();
}

void StatusBoard::publish(const WorkerStatus& status, const RateMeter& tokens) {
  const std::lock_guard lock(mutex_);
  status_ = status;
  tokens_ = tokens;
}

WorkerStatus StatusBoard::read() const {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  WorkerStatus status = status_;
  if (busy_since_) {
    status.busy_s = seconds_between(*busy_since_, now);
    status.since_turn_s = seconds_between(last_turn_, now);
  }
  if (load_) {
    status.loading = load_->status;
    status.loading->seconds = seconds_between(load_->since, now);
  }
  status.tokens_per_s = tokens_.per_second(now);
  return status;
}

}  // namespace mlxk
