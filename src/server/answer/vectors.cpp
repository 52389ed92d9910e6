#include "server/answer/vectors.h"

#include <utility>

#include "base/log.h"
#include "server/answer/engine_failure.h"
#include "server/metrics.h"
#include "server/task_pool.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

/// One answer in progress. Events arrive on the worker's thread, and the answer is written on another.
class VectorSession : public std::enable_shared_from_this<VectorSession> {
 public:
  VectorSession(ServerContext& context, const ApiCall& call, VectorPlan plan)
      : context_(context),
        exchange_(call.exchange),
        error_style_(call.error_style),
        turn_(call.turn),
        plan_(std::move(plan)),
        numbers_(plan_.request.texts.size()) {}

  void start() {
    for (const EncodedText& text : plan_.request.texts) tokens_ += static_cast<int64_t>(text.ids.size());
    const auto self = shared_from_this();
    Ticket ticket = context_.worker.submit(plan_.model->handle(), std::move(plan_.request),
                                           [self](const Event& event) { self->take(event); });
    exchange_->on_close([ticket]() mutable { ticket.cancel(); });
  }

 private:
  void take(const Event& event) {
    if (const auto* vector = std::get_if<VectorEvent>(&event)) {
      numbers_[vector->index] = vector->numbers;
    } else if (const auto* failed = std::get_if<FailedEvent>(&event)) {
      finish([failure = api_error(*failed)](VectorSession&) -> HttpResponse { throw failure; });
    } else if (const auto* done = std::get_if<DoneEvent>(&event)) {
      finish([done = *done](VectorSession& self) { return self.answer(done); });
    }
  }

  /// Writing takes time, and so does letting go of the last hold on a model.
  void finish(std::function<HttpResponse(VectorSession&)> write) {
    context_.preparation.run(
        [self = shared_from_this(), write = std::move(write)] {
          answer_errors(*self->exchange_, [&] { self->exchange_->respond(write(*self)); }, self->error_style_);
          self->plan_ = {};
        },
        turn_);
  }

  HttpResponse answer(const DoneEvent& done) {
    if (done.reason == FinishReason::cancelled) {
      throw ApiError(ErrorKind::unavailable, "Server is shutting down", "", "shutting_down");
    }
    context_.metrics.count_answer({.prompt_tokens = tokens_, .queued_s = done.timings.queued_s});
    log::info("vectors", {{"request_id", exchange_->request_id()},
                          {"model", plan_.model->info().ref.name},
                          {"texts", static_cast<int64_t>(numbers_.size())},
                          {"tokens", tokens_},
                          {"queued", done.timings.queued_s}});
    return plan_.write(std::move(numbers_), tokens_);
  }

  ServerContext& context_;
  const std::shared_ptr<Exchange> exchange_;
  const ErrorStyle error_style_;
  const TaskTurn turn_;
  VectorPlan plan_;
  std::vector<TextNumbers> numbers_;  // the worker's until the end
  int64_t tokens_ = 0;
};

}  // namespace

void run_vectors(ServerContext& context, const ApiCall& call, VectorPlan plan) {
  if (call.exchange->closed()) return;
  std::make_shared<VectorSession>(context, call, std::move(plan))->start();
}

}  // namespace mlxk
