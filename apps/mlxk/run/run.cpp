#include "run/run.h"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "base/error.h"
#include "base/stop.h"
#include "chat/prepared_chat.h"
#include "record/request_recorder.h"
#include "serving/max_new_tokens.h"
#include "terminal/interrupt.h"
#include "worker/request.h"

namespace mlxk {

namespace {
constexpr int64_t kUnknownContextTokens = 4096;

void stop_when_interrupted() {
  if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
}

void report(const OpenedModel& model, const PreparedRun& run) {
  fmt::print(stderr, "Model: {}\nContext length: {}\nPrompt: {} tokens\nMax tokens: {}\nEnd tokens: {}\n",
             model.info().ref.path.string(), model.info().context_length, run.prompt.ids.size(), run.request.max_tokens,
             fmt::join(run.request.eos_token_ids, " "));
}
}  // namespace

Json first_messages(const RunOptions& options, size_t images, size_t recordings) {
  Json messages = Json::array();
  if (!options.system.empty()) messages.push_back({{"role", "system"}, {"content", options.system}});
  if (!options.prompt) return messages;
  Json content = *options.prompt;
  if (images + recordings > 0) {
    content = Json(images, {{"type", "image"}});
    for (size_t i = 0; i < recordings; ++i) content.push_back({{"type", "audio"}});
    content.push_back({{"type", "text"}, {"text", *options.prompt}});
  }
  messages.push_back({{"role", "user"}, {"content", std::move(content)}});
  return messages;
}

PreparedRun prepare_run(const OpenedModel& model, const RunOptions& options, const Json& messages,
                        const std::vector<std::string>& extra_stops, const PromptImages* images,
                        const PromptAudio* audio) {
  const auto& tokenizer = model.tokenizer();
  const ChatTemplate* chat_template = options.use_template ? model.chat_template() : nullptr;
  // A single prompt to a model without template is used unchanged, as text to be continued.
  const bool raw = !chat_template && messages.size() == 1 && extra_stops.empty() && !images && !audio;
  const StopScope scope(stop_when_interrupted);
  const PreparedChat chat = encode_within(model.info().context_length, [&](size_t max_tokens) {
    return raw ? PreparedChat{raw_prompt(messages[0].at("content").get<std::string>(), *tokenizer, max_tokens), {}, {}}
               : prepare_chat(messages, chat_template, {}, *tokenizer, max_tokens, images, audio);
  });
  if (chat.prompt.ids.empty()) {
    throw Error(ErrorKind::invalid,
                raw ? "the prompt has no tokens" : "the prompt has no tokens: the model's chat template writes nothing",
                raw ? "" : "--no-chat-template sends the prompt unchanged");
  }
  const int64_t context = model.info().context_length;
  GenerateRequest request;
  request.prompt = chat.prompt.ids;
  request.media = chat.prompt.media;
  request.attend_both_ways = chat.prompt.attend_both_ways;
  request.sampling = options.sampling;
  request.max_tokens = max_new_tokens_for(context, static_cast<int64_t>(chat.prompt.ids.size()), options.max_tokens,
                                          context > 0 ? context : kUnknownContextTokens);
  request.eos_token_ids = tokenizer->eos_token_ids();
  std::vector<std::string> stops = options.stops;
  const std::vector<std::string>& more_stops = chat.stops.empty() ? extra_stops : chat.stops;
  stops.insert(stops.end(), more_stops.begin(), more_stops.end());
  return {chat.prompt, std::move(request), Completion(tokenizer, std::move(stops), chat.reasoning)};
}

void load_for_run(OpenedModel& model, const RunOptions& options) {
  if (model.handle()) return;
  const StopScope scope(stop_when_interrupted);
  model.load();
  if (options.verbose) fmt::print(stderr, "Loaded in {:.1f}s\n", model.load_seconds());
}

GeneratedAnswer run_prepared(OpenedModel& model, const RunOptions& options, PreparedRun run,
                             const std::function<void(const std::vector<Part>&)>& on_parts) {
  if (options.verbose) report(model, run);
  std::optional<RequestRecorder> recorder;  // writes the file before this returns
  RequestTap tap;
  if (!options.record.empty()) {
    recorder.emplace(options.record, options.record_redact, model.worker().device());
    tap = [&](GenerateRequest& request, EventSink sink) {
      return recorder->record(request, model.info().ref, std::nullopt, std::move(sink));
    };
  }
  const GeneratedAnswer answer = generate(model.worker(), model.handle(), std::move(run.request),
                                          std::move(run.completion), on_parts, interrupted, tap);
  if (options.verbose) {
    fmt::print(stderr, "\nGenerated {} tokens in {:.1f}s ({:.1f} tokens/s), first token after {:.2f}s\n",
               answer.usage.completion_tokens, answer.timings.first_token_s + answer.timings.decode_s,
               answer.tokens_per_second(), answer.timings.first_token_s);
    if (answer.usage.drafted_tokens > 0) {
      fmt::print(stderr, "{} of {} draft tokens were accepted\n", answer.usage.accepted_tokens,
                 answer.usage.drafted_tokens);
    }
  }
  return answer;
}

}  // namespace mlxk
