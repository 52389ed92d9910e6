#include "worker/worker.h"

#include <exception>
#include <future>

#include "base/error.h"
#include "worker/backend.h"
#include "worker/convert_options.h"
#include "worker/engine_loop.h"
#include "worker/mailbox.h"
#include "worker/request.h"
#include "worker/speech.h"

namespace mlxk {

namespace {

/// A request of one kind of model.
template <class Model, class Request>
class ModelWork : public Work {
 public:
  ModelWork(Request request, const char* refusal) : request_(std::move(request)), refusal_(refusal) {}
  void check(const EngineModel& model) const override {
    const auto* own = dynamic_cast<const Model*>(&model);
    if (!own) throw Error(ErrorKind::invalid, refusal_);
    own->check(request_);
  }
  int64_t cached_tokens(const EngineModel& model) const override {
    return dynamic_cast<const Model&>(model).cached_tokens(request_);
  }
  uint64_t media_bytes(const EngineModel& model) const override {
    return dynamic_cast<const Model&>(model).media_bytes(request_);
  }
  std::unique_ptr<Sequence> start(EngineModel& model) override {
    return dynamic_cast<Model&>(model).start(std::move(request_));
  }

 private:
  Request request_;
  const char* refusal_;  // for a model of another kind
};

/// Iterates until the mailbox is closed and empty.
void run(EngineLoop& loop, Mailbox& mailbox, std::chrono::milliseconds rest_after) {
  while (true) {
    Mailbox::Call call;
    {
      std::unique_lock lock(mailbox.mutex);
      if (!loop.busy()) mailbox.rest(lock, rest_after, [&] { loop.backend().rest(); });
      if (mailbox.closed && mailbox.empty()) break;
      if (!mailbox.calls.empty()) {
        call = std::move(mailbox.calls.front());
        mailbox.calls.pop_front();
      }
    }
    if (call) {
      mailbox.board.beat();
      loop.take_mail();  // models whose handles are gone are unloaded first
      call(loop);
      call = nullptr;  // its captures are released on this thread
    }
    loop.iterate();
  }
  loop.cancel_all();
}

}  // namespace

Worker::Worker(std::function<std::unique_ptr<Backend>()> make, const WorkerLimits& limits)
    : mailbox_(std::make_shared<Mailbox>()) {
  std::promise<void> ready;
  auto started = ready.get_future();
  thread_ = std::thread([mailbox = mailbox_, make = std::move(make), limits, ready = std::move(ready)]() mutable {
    std::unique_ptr<EngineLoop> loop;
    try {
      loop = std::make_unique<EngineLoop>(make(), limits, *mailbox);
    } catch (...) {
      ready.set_exception(std::current_exception());
      return;
    }
    ready.set_value();
    run(*loop, *mailbox, limits.rest_after);
  });
  try {
    started.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

Worker::~Worker() {
  {
    const std::lock_guard lock(mailbox_->mutex);
    mailbox_->closed = true;
  }
  mailbox_->wake.notify_one();
  thread_.join();
}

DeviceFacts Worker::device() {
  return mailbox_->call<DeviceFacts>([](EngineLoop& loop) { return loop.backend().device(); });
}

double Worker::gpu_bandwidth() {
  return mailbox_->call<double>([](EngineLoop& loop) { return loop.backend().gpu_bandwidth(); });
}

std::shared_ptr<const ModelHandle> Worker::load(ModelKind kind, const std::filesystem::path& model_dir,
                                                ProgressSink progress, const LoadOptions& options) {
  return mailbox_->call<std::shared_ptr<const ModelHandle>>([&, mailbox = mailbox_](EngineLoop& loop) {
    std::unique_ptr<EngineModel> model;
    loop.run_long(model_dir, progress, true,
                  [&](const ProgressSink& told) { model = loop.backend().load(kind, model_dir, options, told); });
    ModelFacts facts = model->facts();
    return std::make_shared<const ModelHandle>(loop.add_model(std::move(model)), std::move(facts), mailbox);
  });
}

ConvertReport Worker::convert(const ConvertOptions& options, ProgressSink progress) {
  return mailbox_->call<ConvertReport>([&](EngineLoop& loop) {
    ConvertReport report;
    // Progress is reported during the conversion's own forward passes, where no other model can run.
    loop.run_long(options.source, progress, false,
                  [&](const ProgressSink& told) { report = loop.backend().convert(options, told); });
    return report;
  });
}

Ticket Worker::submit(std::shared_ptr<const ModelHandle> model, GenerateRequest request, EventSink sink) {
  Job job;
  job.model = std::move(model);
  job.scope = request.cache_scope;
  job.deadline = request.deadline;
  job.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  job.max_tokens = request.max_tokens;
  job.max_tokens_named = request.max_tokens_named;
  job.work =
      std::make_unique<ModelWork<TextModel, GenerateRequest>>(std::move(request), "this model does not generate text");
  return submit(std::move(job), std::move(sink));
}

Ticket Worker::submit(std::shared_ptr<const ModelHandle> model, SpeechRequest request, EventSink sink) {
  Job job;
  job.model = std::move(model);
  job.scope = request.cache_scope;
  job.deadline = request.deadline;
  job.max_tokens = job.model->facts().context_length;
  job.max_tokens_named = false;
  job.work = std::make_unique<ModelWork<SpeechModel, SpeechRequest>>(std::move(request),
                                                                     "this model does not transcribe audio");
  return submit(std::move(job), std::move(sink));
}

Ticket Worker::submit(std::shared_ptr<const ModelHandle> model, EmbedRequest request, EventSink sink) {
  Job job;
  job.model = std::move(model);
  job.scope = request.cache_scope;
  job.deadline = request.deadline;
  for (const EncodedText& text : request.texts) job.prompt_tokens += static_cast<int64_t>(text.ids.size());
  job.max_tokens_named = false;
  job.work =
      std::make_unique<ModelWork<EmbeddingModel, EmbedRequest>>(std::move(request), "the model gives no vectors");
  return submit(std::move(job), std::move(sink));
}

Ticket Worker::submit(Job job, EventSink sink) {
  Ticket ticket;
  job.cancelled = ticket.cancelled_;
  job.sink = sink;
  if (!mailbox_->post(&Mailbox::jobs, std::move(job))) {
    sink(FailedEvent{ErrorKind::unavailable, "the engine is shutting down"});
  }
  return ticket;
}

WorkerStatus Worker::status() const {
  WorkerStatus status = mailbox_->board.read();
  const std::lock_guard lock(mailbox_->mutex);
  status.waiting += mailbox_->jobs.size();
  return status;
}

ModelHandle::ModelHandle(uint64_t id, ModelFacts facts, std::shared_ptr<Mailbox> mailbox)
    : id_(id), facts_(std::move(facts)), mailbox_(std::move(mailbox)) {}

ModelHandle::~ModelHandle() { mailbox_->post(&Mailbox::unloads, id_); }

}  // namespace mlxk
