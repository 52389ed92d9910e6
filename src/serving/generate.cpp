#include "serving/generate.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "worker/model_handle.h"
#include "worker/request.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
/// The events of one request, from the worker's thread to this one.
class EventQueue {
 public:
  void push(const Event& event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    }
    filled_.notify_one();
  }

  /// The next event; nullopt if none arrives within a twentieth of a second.
  std::optional<Event> pop() {
    std::unique_lock lock(mutex_);
    if (!filled_.wait_for(lock, std::chrono::milliseconds(50), [&] { return !events_.empty(); })) return std::nullopt;
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::deque<Event> events_;
};
}  // namespace

double GeneratedAnswer::tokens_per_second() const {
  return timings.decode_s > 0 ? static_cast<double>(usage.completion_tokens - 1) / timings.decode_s : 0;
}

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop: return "stop";
    case FinishReason::length: return "length";
    case FinishReason::cancelled: return "cancelled";
  }
  return "stop";
}

GeneratedAnswer generate(Worker& worker, const std::shared_ptr<const ModelHandle>& model, GenerateRequest request,
                         Completion completion, const std::function<void(const std::vector<Part>&)>& on_parts,
                         const std::function<bool()>& stop_wanted, const RequestTap& tap) {
  // The sink may outlive this call when on_parts throws.
  const auto queue = std::make_shared<EventQueue>();
  EventSink sink = [queue](const Event& event) { queue->push(event); };
  if (tap) sink = tap(request, std::move(sink));
  Ticket ticket = worker.submit(model, std::move(request), std::move(sink));
  GeneratedAnswer answer;
  int64_t tokens = 0;
  bool cancelled = false;
  const auto take = [&](const std::vector<Part>& parts) {
    for (const Part& part : parts) (part.kind == Part::Kind::answer ? answer.answer : answer.reasoning) += part.text;
    if (!parts.empty()) on_parts(parts);
  };
  try {
    while (true) {
      const auto event = queue->pop();
      if (!cancelled && stop_wanted()) {
        cancelled = true;
        ticket.cancel();
      }
      if (!event) continue;
      if (const auto* failed = std::get_if<FailedEvent>(&*event)) throw Error(failed->kind, failed->message);
      if (const auto* token = std::get_if<TokenEvent>(&*event)) {
        if (cancelled || completion.stopped()) continue;
        ++tokens;
        take(completion.push(token->token));
        if (completion.stopped()) ticket.cancel();
      } else if (const auto* done = std::get_if<DoneEvent>(&*event)) {
        take(completion.finish());
        answer.reason = cancelled ? FinishReason::cancelled : done->reason;
        answer.usage = done->usage;
        answer.timings = done->timings;
        if (completion.stopped()) {
          answer.reason = FinishReason::stop;
          answer.usage.completion_tokens = tokens;  // the engine was some tokens ahead
        }
        return answer;
      }
    }
  } catch (...) {
    ticket.cancel();
    throw;
  }
}

}  // namespace mlxk
