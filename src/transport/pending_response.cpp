#include "transport/pending_response.h"

#include <algorithm>
#include <utility>

namespace mlxk {
namespace {

constexpr int kSwitchingProtocols = 101;

class Handle final : public Exchange {
 public:
  explicit Handle(std::shared_ptr<PendingResponse> answer) : answer_(std::move(answer)) {}
  ~Handle() override { answer_->abandon(); }
  const std::string& request_id() const override { return answer_->request_id(); }
  void respond(HttpResponse response) override { answer_->respond(std::move(response)); }
  void begin(HttpResponse head) override { answer_->begin(std::move(head)); }
  void send(std::string bytes) override { answer_->send(std::move(bytes)); }
  void finish() override { answer_->finish(); }
  void upgrade(WebSocketPlan plan) override { answer_->upgrade(std::move(plan)); }
  size_t unsent_bytes() const override { return answer_->unsent_bytes(); }
  bool closed() const override { return answer_->closed(); }
  void on_close(std::function<void()> gone) override { answer_->on_close(std::move(gone)); }
  void post(std::function<void()> task) override { answer_->post(std::move(task)); }

 private:
  const std::shared_ptr<PendingResponse> answer_;
};

}  // namespace

PendingResponse::PendingResponse(std::shared_ptr<Loop> loop, AnswerFormat format, size_t max_unsent,
                                 std::function<void()> wake)
    : loop_(std::move(loop)), format_(std::move(format)), max_unsent_(max_unsent), wake_(std::move(wake)) {}

std::shared_ptr<Exchange> PendingResponse::make_exchange(std::shared_ptr<PendingResponse> answer) {
  return std::make_shared<Handle>(std::move(answer));
}

void PendingResponse::respond(HttpResponse response) {
  const std::lock_guard lock(mutex_);
  if (closed_ || stage_ != Stage::waiting) return;
  stage_ = Stage::complete;
  status_ = response.status;
  if (loop_->draining) format_.keep_alive = false;
  const bool body = may_have_body(response.status);
  push(response_head(response, format_, body ? Framing::length : Framing::none, response.body.size()));
  if (body && !format_.head_only) push(std::move(response.body));
  wake();
}

void PendingResponse::begin(HttpResponse head) {
  const std::lock_guard lock(mutex_);
  if (closed_ || stage_ != Stage::waiting) return;
  stage_ = Stage::streaming;
  status_ = head.status;
  framing_ = !may_have_body(head.status) ? Framing::none : format_.http10 ? Framing::until_close : Framing::chunked;
  if (loop_->draining || framing_ == Framing::until_close) format_.keep_alive = false;
  std::string bytes = response_head(head, format_, framing_, 0);
  if (framing_ != Framing::none && !format_.head_only && !head.body.empty()) {
    bytes += framing_ == Framing::chunked ? chunk(head.body) : head.body;
  }
  push(std::move(bytes));
  wake();
}

void PendingResponse::send(std::string bytes) {
  const std::lock_guard lock(mutex_);
  if (closed_ || overflowed_ || bytes.empty()) return;
  if (stage_ == Stage::socket) {
    push(std::move(bytes));
  } else {
    if (stage_ != Stage::streaming || format_.head_only || framing_ == Framing::none) return;
    push(framing_ == Framing::chunked ? chunk(bytes) : std::move(bytes));
  }
  overflowed_ = unsent_ > max_unsent_;
  wake();
}

void PendingResponse::finish() {
  const std::lock_guard lock(mutex_);
  if (closed_ || (stage_ != Stage::streaming && stage_ != Stage::socket)) return;
  stage_ = Stage::complete;
  if (!upgraded_ && framing_ == Framing::chunked && !format_.head_only) push("0\r\n\r\n");
  wake();
}

void PendingResponse::upgrade(WebSocketPlan plan) {
  const std::lock_guard lock(mutex_);
  if (closed_ || stage_ != Stage::waiting) return;
  stage_ = Stage::socket;
  upgraded_ = true;
  status_ = kSwitchingProtocols;
  format_.keep_alive = false;
  socket_ = std::move(plan);
  wake();
}

void PendingResponse::abandon() {
  const std::lock_guard lock(mutex_);
  if (closed_ || stage_ == Stage::complete) return;
  abandoned_ = true;
  wake();
}

size_t PendingResponse::unsent_bytes() const {
  const std::lock_guard lock(mutex_);
  return unsent_;
}

bool PendingResponse::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

void PendingResponse::on_close(std::function<void()> gone) {
  {
    const std::lock_guard lock(mutex_);
    if (delivered_) return;
    if (!closed_) {
      gone_.push_back(std::move(gone));
      return;
    }
  }
  loop_->post(std::move(gone));
}

PendingResponse::State PendingResponse::take(std::list<std::string>& out) {
  const std::lock_guard lock(mutex_);
  waking_ = false;
  out.splice(out.end(), queue_);
  return {stage_ != Stage::waiting,
          stage_ == Stage::complete,
          abandoned_,
          overflowed_,
          format_.keep_alive,
          upgraded_,
          status_};
}

WebSocketPlan PendingResponse::take_socket() {
  const std::lock_guard lock(mutex_);
  return std::exchange(socket_, {});
}

void PendingResponse::written(size_t count) {
  const std::lock_guard lock(mutex_);
  unsent_ -= std::min(unsent_, count);
  written_ += count;
}

size_t PendingResponse::total_written() const {
  const std::lock_guard lock(mutex_);
  return written_;
}

void PendingResponse::close() {
  std::vector<std::function<void()>> gone;
  WebSocketPlan forgotten;  // destroyed without the mutex
  {
    const std::lock_guard lock(mutex_);
    if (closed_ || delivered_) return;
    closed_ = true;
    queue_.clear();
    unsent_ = 0;
    std::swap(forgotten, socket_);
    gone.swap(gone_);
  }
  for (const auto& call : gone) call();
}

void PendingResponse::deliver() {
  std::vector<std::function<void()>> forgotten;  // destroyed without the mutex
  const std::lock_guard lock(mutex_);
  delivered_ = true;
  forgotten.swap(gone_);
}

void PendingResponse::push(std::string bytes) {
  if (bytes.empty()) return;
  unsent_ += bytes.size();
  queue_.push_back(std::move(bytes));
}

// With the mutex held: one wake-up for all changes until they are taken.
void PendingResponse::wake() {
  if (std::exchange(waking_, true)) return;
  loop_->post(wake_);
}

}  // namespace mlxk
