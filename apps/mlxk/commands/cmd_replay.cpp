// `mlxk replay FILE`: runs a request again that `--record` recorded.
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "base/counted.h"
#include "base/error.h"
#include "base/log.h"
#include "chat/answer_grammar.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/table.h"
#include "cli/threads_option.h"
#include "commands/command.h"
#include "engine/open.h"
#include "hub/content_hash.h"
#include "json/api.h"
#include "record/recorded_run.h"
#include "serving/admission.h"
#include "serving/model_loader.h"
#include "serving/token_runs.h"
#include "terminal/interrupt.h"
#include "terminal/output.h"
#include "worker/worker.h"

namespace mlxk {

namespace {

/// The result of a replay.
struct Replay {
  const RecordedRun& recorded;
  TokenRun now;
  std::optional<TokenDifference> difference;  // first: recorded, second: now
  DeviceFacts device;
};

/// The model of --model, else the one that the record names.
ModelInfo model_of(const Args& args, const RecordedRun& run) {
  ModelRef ref;
  if (args.has("--model")) {
    ref = resolve_model(runnable_argument(args.text("--model")));
  } else {
    try {
      ref = resolve_model(run.model.cached ? run.model.name + "@" + run.model.revision : run.model.path.string());
    } catch (const Error& error) {
      throw Error(error.kind(), fmt::format("the recorded model: {}", error.what()), "use another one with --model");
    }
  }
  const auto hash = hash_model(ref.path);
  if (hash && !run.content_hash.empty() && *hash != run.content_hash) {
    log::warn(fmt::format("the content of {} differs from that of the recorded model", ref.name));
  }
  return probe_model(ref);
}

/// The recorded request, with max_tokens set to the recorded number, plus one if the answer ended by itself.
GenerateRequest request_of(const RecordedRun& run, const ServedText& model) {
  GenerateRequest request = run.request;
  const auto tokens = static_cast<int64_t>(run.tokens.size());
  request.max_tokens = std::max<int64_t>(1, tokens + (run.reason == FinishReason::stop ? 1 : 0));
  request.top_logprobs = 0;
  if (run.held && run.constrained) {
    request.constraint = make_constraint(model.grammars(), run.held->grammar, run.held->tools,
                                         run.held->tools.active() ? model.tool_format() : nullptr, run.held->reasoning);
  }
  return request;
}

void check_record(const RecordedRun& run, const std::string& file) {
  if (run.redacted()) {
    throw Error(ErrorKind::invalid, fmt::format("{} has no prompt, so it cannot be replayed", file),
                "record without --record-redact");
  }
  if (run.tokens.empty() && run.reason == FinishReason::cancelled) {
    throw Error(ErrorKind::invalid, fmt::format("{} has no tokens: the request was cancelled before its answer", file));
  }
}

std::string token_text(const std::optional<TokenEvent>& token, const Tokenizer& tokenizer) {
  if (!token) return "the end";
  const std::vector<int32_t> ids = {token->token};
  return fmt::format("{} {} ({:.4f})", token->token, Json(tokenizer.decode(ids, false)).dump(), token->logprob);
}

std::string summary_of(const Replay& replay, const Tokenizer& tokenizer) {
  const auto& recorded = replay.recorded.tokens;
  if (!replay.difference) {
    const float gap = largest_logprob_gap(recorded, replay.now.tokens);
    return fmt::format("same {}{}", counted(recorded.size(), "token"),
                       gap > 0 ? fmt::format("; log-probabilities differ by up to {:.2g}", gap) : "");
  }
  return fmt::format("token {} of {} differs: recorded {}, now {}", replay.difference->index + 1, recorded.size(),
                     token_text(replay.difference->first, tokenizer), token_text(replay.difference->second, tokenizer));
}

Json token_json(const std::optional<TokenEvent>& token) {
  if (!token) return nullptr;
  return {{"token", token->token}, {"logprob", token->logprob}};
}

Json data_of(const Replay& replay, const std::string& model) {
  Json difference = nullptr;
  if (replay.difference) {
    difference = {{"index", replay.difference->index},
                  {"recorded", token_json(replay.difference->first)},
                  {"now", token_json(replay.difference->second)}};
  }
  const RecordedRun& recorded = replay.recorded;
  return {{"same", !replay.difference},
          {"tokens", recorded.tokens.size()},
          {"largest_logprob_gap", largest_logprob_gap(recorded.tokens, replay.now.tokens)},
          {"difference", std::move(difference)},
          {"model", model},
          {"recorded",
           {{"version", recorded.version}, {"device", recorded.device.name}, {"kernels", recorded.device.kernels}}},
          {"now", {{"version", MLXK_VERSION}, {"device", replay.device.name}, {"kernels", replay.device.kernels}}}};
}

void choose_device(const Args& args) {
  if (!args.has("--device")) return;
  const std::string device = args.text("--device");
  if (device != "cpu" && device != "gpu") {
    throw Error(ErrorKind::usage, fmt::format("argument --device: must be cpu or gpu, got '{}'", device));
  }
  setenv("MLXK_DEVICE", device.c_str(), 1);  // read by the engine
}

int run_replay(const Args& args) {
  apply_threads(args);
  choose_device(args);
  const std::string file = args.word("file");
  const RecordedRun recorded = read_record(file);
  check_record(recorded, file);
  const ModelInfo info = model_of(args, recorded);
  admit_text(info, this_machine(), {});
  const InterruptGuard guard;
  const auto progress = [](const std::string&, int64_t, int64_t) {
    if (interrupted()) throw Error(ErrorKind::cancelled, "interrupted");
  };
  Worker worker(open_engine);
  const auto model = as_text(open_model(info)->read(worker, {}, progress));
  Replay replay{recorded, {}, {}, worker.device()};
  replay.now = std::move(run_tokens(worker, model->handle(), {request_of(recorded, *model)}, interrupted).front());
  replay.difference = first_difference(recorded.tokens, replay.now.tokens);
  const std::string summary = summary_of(replay, *model->tokenizer());
  if (args.has("--json")) {
    print_json(success_envelope("replay", data_of(replay, info.ref.name)));
  } else {
    print_line(printable(summary));
  }
  return replay.difference ? 1 : 0;
}

}  // namespace

extern const Command kReplayCommand;
const Command kReplayCommand = {
    .name = "replay",
    .help = "run a recorded request again and compare its tokens",
    .positionals = {{"file", PositionalKind::required, "a file that `run --record` or `serve --record` wrote"}},
    .options = {{.name = "--model",
                 .kind = OptionKind::text,
                 .metavar = "MODEL",
                 .help = "use this model instead of the recorded one"},
                {.name = "--device",
                 .kind = OptionKind::text,
                 .metavar = "DEVICE",
                 .help = "cpu or gpu; default: the engine's choice",
                 .choices = {"cpu", "gpu"}},
                threads_option(),
                json_option()},
    .run = run_replay,
    .environment = model_places(
        {{"MLXK_DEVICE", "cpu or gpu, like --device"}, {"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"}}),
};

}  // namespace mlxk
