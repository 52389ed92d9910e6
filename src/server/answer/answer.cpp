#include "server/answer/answer.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "record/request_recorder.h"
#include "server/answer/answer_choice.h"
#include "server/answer/engine_failure.h"
#include "server/api_error.h"
#include "server/context.h"
#include "server/metrics.h"
#include "server/task_pool.h"
#include "serving/served_model.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

/// One answer in progress. The worker's thread queues events; everything else happens in tasks of the exchange.
class AnswerSession : public std::enable_shared_from_this<AnswerSession> {
 public:
  AnswerSession(ServerContext& context, const ApiCall& call, AnswerPlan plan);

  void start();

 private:
  void on_event(size_t choice, const Event& event);  // worker thread
  bool keep_alive();                                 // ticker thread

  // On the I/O thread:
  void drain();
  void take(size_t choice, const Event& event);
  void add(size_t choice, AnswerDelta delta);
  void echo(size_t choice, const std::vector<TokenEvent>& scored);
  void open_stream();
  void close(size_t choice, const DoneEvent& done);
  void complete();
  void fail(const ApiError& error);
  void flush();
  void cancel_all();
  void end();

  struct Row {
    AnswerChoice choice;
    std::string echo;
    std::vector<int32_t> prompt;  // kept for its scores
    bool prompt_only;
    Ticket ticket;
    std::optional<DoneEvent> done;
  };

  ServerContext& context_;
  const std::shared_ptr<Exchange> exchange_;
  const ErrorStyle error_style_;
  AnswerPlan plan_;
  std::vector<Row> rows_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool streaming_ = false;  // the head was sent
  bool ended_ = false;
  bool quiet_ = true;  // nothing was sent since the last tick
  size_t open_rows_;

  std::mutex mutex_;  // guards the members below
  std::vector<std::pair<size_t, Event>> events_;
  bool posted_ = false;   // a drain() is posted
  bool started_ = false;  // the engine began
};

AnswerSession::AnswerSession(ServerContext& context, const ApiCall& call, AnswerPlan plan)
    : context_(context),
      exchange_(call.exchange),
      error_style_(call.error_style),
      plan_(std::move(plan)),
      tokenizer_(plan_.model->tokenizer()),
      open_rows_(plan_.choices.size()) {
  rows_.reserve(plan_.choices.size());
  for (ChoicePlan& one : plan_.choices) {
    rows_.push_back({AnswerChoice(tokenizer_, std::move(one.completion), plan_.logprobs, plan_.inline_reasoning,
                                  std::move(one.ends)),
                     std::move(one.echo),
                     one.request.prompt_logprobs ? one.request.prompt : std::vector<int32_t>{},
                     one.prompt_only,
                     {},
                     {}});
  }
}

void AnswerSession::start() {
  const auto self = shared_from_this();
  // The tickets are made on this thread, so their events wait until all exist.
  {
    const std::lock_guard lock(mutex_);
    posted_ = true;
  }
  for (size_t i = 0; i < rows_.size(); ++i) {
    ChoicePlan& choice = plan_.choices[i];
    EventSink sink = [self, i](const Event& event) { self->on_event(i, event); };
    if (context_.recorder) {
      sink =
          context_.recorder->record(choice.request, plan_.model->info().ref, std::move(choice.held), std::move(sink));
    }
    rows_[i].ticket = context_.worker.submit(plan_.model->handle(), std::move(choice.request), std::move(sink));
  }
  exchange_->on_close([weak = weak_from_this()] {
    if (const auto answer = weak.lock()) answer->cancel_all();
  });
  exchange_->post([self] { self->drain(); });
  if (plan_.stream) {
    context_.ticker.add([weak = weak_from_this()] {
      const auto answer = weak.lock();
      return answer && answer->keep_alive();
    });
  }
}

void AnswerSession::on_event(size_t choice, const Event& event) {
  {
    const std::lock_guard lock(mutex_);
    if (std::holds_alternative<PrefillEvent>(event) && std::exchange(started_, true)) return;
    events_.emplace_back(choice, event);
    if (std::exchange(posted_, true)) return;
  }
  exchange_->post([self = shared_from_this()] { self->drain(); });
}

void AnswerSession::drain() {
  std::vector<std::pair<size_t, Event>> events;
  {
    const std::lock_guard lock(mutex_);
    events.swap(events_);
    posted_ = false;
  }
  for (const auto& [choice, event] : events) {
    if (!ended_) take(choice, event);
  }
  if (!ended_) flush();
}

void AnswerSession::take(size_t choice, const Event& event) {
  Row& row = rows_[choice];
  if (const auto* failed = std::get_if<FailedEvent>(&event)) return fail(api_error(*failed));
  if (std::holds_alternative<PrefillEvent>(event)) return open_stream();
  if (const auto* prompt = std::get_if<PromptEvent>(&event)) return echo(choice, prompt->tokens);
  if (const auto* token = std::get_if<TokenEvent>(&event)) {
    if (!row.echo.empty()) echo(choice, {});
    if (row.prompt_only) return;
    const bool stopped = row.choice.stopped();
    add(choice, row.choice.push(*token));
    if (!stopped && row.choice.stopped()) row.ticket.cancel();
  } else if (const auto* done = std::get_if<DoneEvent>(&event)) {
    if (!row.echo.empty()) echo(choice, {});
    DoneEvent end = *done;
    if (row.prompt_only) {
      end.usage.completion_tokens = 0;
      if (end.reason == FinishReason::stop) end.reason = FinishReason::length;
    }
    close(choice, end);
  }
}

void AnswerSession::add(size_t choice, AnswerDelta delta) {
  if (delta.empty()) return;
  open_stream();
  plan_.writer->add(static_cast<int>(choice), std::move(delta));
}

void AnswerSession::echo(size_t choice, const std::vector<TokenEvent>& scored) {
  Row& row = rows_[choice];
  std::vector<ScoredToken> scores;
  int64_t offset = 0;
  for (size_t i = 0; i < row.prompt.size(); ++i) {
    ScoredToken score{.event = {row.prompt[i]}, .text_offset = offset, .scored = i > 0 && i <= scored.size()};
    if (score.scored) score.event = scored[i - 1];
    // A special token that the tokenizer put first has no text.
    const bool shown = i > 0 || !tokenizer_->is_special(row.prompt[i]);
    if (shown) offset += count_characters(tokenizer_->token_bytes(row.prompt[i]));
    scores.push_back(std::move(score));
  }
  row.prompt.clear();
  add(choice, row.choice.echo(std::exchange(row.echo, {}), std::move(scores)));
}

void AnswerSession::open_stream() {
  if (!plan_.stream || std::exchange(streaming_, true)) return;
  for (size_t i = 0; i < rows_.size(); ++i) plan_.writer->open(static_cast<int>(i));
  quiet_ = false;
  HttpResponse head = plan_.writer->head();
  head.body = plan_.writer->take();
  exchange_->begin(std::move(head));
}

void AnswerSession::close(size_t choice, const DoneEvent& done) {
  Row& row = rows_[choice];
  add(choice, row.choice.finish(done));
  row.done = done;
  if (!row.choice.finish_reason()) {
    return fail(ApiError(ErrorKind::unavailable, "Server is shutting down", "", "shutting_down"));
  }
  open_stream();
  plan_.writer->close(static_cast<int>(choice), *row.choice.finish_reason());
  if (--open_rows_ == 0) complete();
}

void AnswerSession::complete() {
  AnswerUsage usage;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const Usage& one = rows_[i].choice.usage();
    if (i % static_cast<size_t>(plan_.choices_per_prompt) == 0) {
      usage.prompt_tokens += one.prompt_tokens;
      usage.cached_tokens += one.cached_tokens;
      usage.image_tokens += one.image_tokens;
      usage.audio_tokens += one.audio_tokens;
      usage.cached_images += one.cached_images;
    }
    usage.completion_tokens += one.completion_tokens;
    usage.reasoning_tokens += rows_[i].choice.reasoning_tokens();
  }
  const Timings& timings = rows_.front().done->timings;
  context_.metrics.count_answer(
      {usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, timings.queued_s, timings.first_token_s});
  log::info("answer", {{"request_id", exchange_->request_id()},
                       {"model", plan_.model->info().ref.name},
                       {"prompt_tokens", usage.prompt_tokens},
                       {"cached_tokens", usage.cached_tokens},
                       {"completion_tokens", usage.completion_tokens},
                       {"queued", timings.queued_s},
                       {"first_token", timings.first_token_s},
                       {"decode", timings.decode_s}});
  plan_.writer->end(usage);
  if (plan_.stream) {
    flush();
    exchange_->finish();
  } else {
    HttpResponse response = plan_.writer->head();
    response.body = plan_.writer->take();
    exchange_->respond(std::move(response));
  }
  end();
}

void AnswerSession::fail(const ApiError& error) {
  const HttpResponse response = error_response(error, exchange_->request_id(), error_style_);
  if (streaming_) {
    plan_.writer->fail(response.body);
    flush();
    exchange_->finish();
  } else {
    exchange_->respond(response);
  }
  end();
}

void AnswerSession::flush() {
  if (!streaming_ || plan_.writer->empty()) return;
  quiet_ = false;
  exchange_->send(plan_.writer->take());
}

void AnswerSession::cancel_all() {
  for (Row& row : rows_) row.ticket.cancel();
  end();
}

/// Frees everything large; the engine may hold the session for a few more steps.
void AnswerSession::end() {
  if (std::exchange(ended_, true)) return;
  for (Row& row : rows_) {
    if (!row.done) row.ticket.cancel();
  }
  rows_.clear();
  plan_.writer.reset();
  // The last request of an unloaded model frees its tokenizer, which takes time.
  context_.brief.run([model = std::exchange(plan_.model, nullptr), tokenizer = std::exchange(tokenizer_, nullptr)] {});
}

bool AnswerSession::keep_alive() {
  exchange_->post([self = shared_from_this()] {
    if (self->ended_) return;
    // A client whose request waits in the queue gets comments, too.
    self->open_stream();
    if (std::exchange(self->quiet_, true)) self->plan_.writer->keep_alive();
    self->flush();
    self->quiet_ = true;
  });
  return !exchange_->closed();
}

}  // namespace

void run_answer(ServerContext& context, const ApiCall& call, AnswerPlan plan) {
  if (call.exchange->closed()) return;
  std::make_shared<AnswerSession>(context, call, std::move(plan))->start();
}

}  // namespace mlxk
