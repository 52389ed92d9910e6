#include "speech/run_window.h"

#include <chrono>
#include <future>

#include "base/error.h"
#include "worker/event.h"
#include "worker/worker.h"

namespace mlxk {

void run_window(Worker& worker, const std::shared_ptr<const ModelHandle>& model, SpeechRequest request,
                const TranscribeEvents& events) {
  const auto cancelled = [&] { return events.cancelled && events.cancelled(); };
  const Error stopped(ErrorKind::cancelled, "the transcription was cancelled");
  if (cancelled()) throw stopped;
  request.cache_scope = events.cache_scope;
  auto ended = std::make_shared<std::promise<Event>>();
  auto end = ended->get_future();
  Ticket ticket = worker.submit(model, std::move(request), [ended](const Event& event) {
    if (std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event)) ended->set_value(event);
  });
  while (end.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    if (cancelled()) ticket.cancel();
  }
  const Event event = end.get();
  if (const auto* failed = std::get_if<FailedEvent>(&event)) throw Error(failed->kind, failed->message);
  if (std::get<DoneEvent>(event).reason == FinishReason::cancelled) throw stopped;
}

}  // namespace mlxk
