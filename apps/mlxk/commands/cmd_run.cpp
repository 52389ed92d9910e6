// `mlxk run MODEL [PROMPT …]`: flags, the call, the printing.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <iostream>

#include "base/error.h"
#include "cli/model_argument.h"
#include "cli/model_places.h"
#include "cli/record_options.h"
#include "cli/speculation_options.h"
#include "cli/threads_option.h"
#include "engine/open.h"
#include "json/api.h"
#include "run/prompt_input.h"
#include "run/run.h"
#include "run/run_chat.h"
#include "run/run_images.h"
#include "run/run_recordings.h"
#include "run/run_speech.h"
#include "terminal/interrupt.h"
#include "terminal/markdown.h"
#include "terminal/output.h"
#include "worker/sampling_check.h"

namespace mlxk {

namespace {
const double kInfinity = std::numeric_limits<double>::infinity();

std::vector<Option> run_options() {
  using Kind = OptionKind;
  std::vector<Option> options = {
      {"--prompt", Kind::text, "TEXT", "the prompt, instead of positional words; `-` is stdin, `@FILE` a file"},
      {"--system", Kind::text, "TEXT", "system prompt"},
      {"--image", Kind::many, "FILE", "images for a vision model; `-` is stdin"},
      {.name = "--chunk",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "images per call",
       .default_value = "1",
       .env = "MLXK2_VISION_CHUNK_SIZE",
       .min = 1,
       .max = kMaxImageChunk},
      {.name = "--max-tokens",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "longest answer; default: what the context leaves",
       .min = 1},
      {.name = "--temperature",
       .kind = Kind::number,
       .metavar = "T",
       .help = "0: always the most likely token",
       .default_value = "0.7",
       .min = 0,
       .max = 100},
      {.name = "--top-p",
       .kind = Kind::number,
       .metavar = "P",
       .help = "nucleus sampling; 1: off",
       .default_value = "0.9",
       .min = 0,
       .max = 1},
      {.name = "--top-k",
       .kind = Kind::integer,
       .metavar = "K",
       .help = "only the K most likely tokens; 0: off",
       .default_value = "0",
       .min = 0,
       .max = 1e9},
      {.name = "--min-p",
       .kind = Kind::number,
       .metavar = "P",
       .help = "only tokens at least P times as likely as the most likely one; 0: off",
       .default_value = "0",
       .min = 0,
       .max = 1},
      {.name = "--repetition-penalty",
       .kind = Kind::number,
       .metavar = "R",
       .help = "over the last 20 tokens; 1: off",
       .default_value = "1.1",
       .min = 0,
       .max = 100},
      {.name = "--seed",
       .kind = Kind::integer,
       .metavar = "N",
       .help = "makes sampling repeatable",
       .min = 0,
       .max = kInfinity},
      {"--stop", Kind::repeated, "TEXT", "end the answer before TEXT; repeatable"},
      {"--no-stream", Kind::flag, "", "print the answer only when it is complete"},
      {"--no-chat-template", Kind::flag, "", "pass the prompt to the model unchanged"},
      {"--no-reasoning", Kind::flag, "", "print the answer without its reasoning"},
      {"--hide-reasoning", Kind::flag, "", "the same as --no-reasoning"},
      record_option(),
      record_redact_option(),
      threads_option(),
      {"--verbose", Kind::flag, "", "print load time, token counts and speed on stderr"},
      json_option(),
  };
  const std::vector<Option> speech = speech_options();
  options.insert(options.begin() + 3, speech.begin(), speech.end());
  const std::vector<Option> speculation = speculation_options();
  options.insert(options.end() - 3, speculation.begin(), speculation.end());
  return options;
}

std::string read_system(const Args& args) {
  std::string text = args.text("--system");
  check_text(text, "the system prompt");
  return text;
}

std::optional<std::string> given_prompt(const Args& args) {
  const auto given = args.has("--prompt") ? std::optional(args.text("--prompt")) : std::nullopt;
  return read_prompt(given, args.words("prompt"), std::cin);
}

/// The prompt of a text; a pipe or a file on stdin is the prompt too if the command line has none.
std::optional<std::string> text_prompt(const Args& args) {
  if (auto prompt = given_prompt(args)) return prompt;
  if (args.has("--image") || args.has("--audio") || isatty(STDIN_FILENO) || std::cin.peek() == EOF) return std::nullopt;
  auto prompt = read_prompt("-", {}, std::cin);
  if (prompt && prompt->ends_with('\n')) prompt->pop_back();  // the newline that `echo` wrote
  return prompt;
}

RunOptions read_options(const Args& args) {
  RunOptions options;
  options.facts.has_images = args.has("--image");
  options.facts.has_audio = args.has("--audio");
  options.prompt = text_prompt(args);
  if (!options.prompt && options.facts.has_images) options.prompt = "Describe the image.";
  options.system = read_system(args);
  options.stops = args.list("--stop");
  for (const std::string& stop : options.stops) {
    if (stop.empty()) throw Error(ErrorKind::usage, "argument --stop: must not be empty");
  }
  options.sampling.temperature = static_cast<float>(args.number("--temperature"));
  options.sampling.top_p = static_cast<float>(args.number("--top-p"));
  options.sampling.top_k = static_cast<int>(args.integer("--top-k"));
  options.sampling.min_p = static_cast<float>(args.number("--min-p"));
  // As in the original, a penalty below 1 means none.
  options.sampling.repetition_penalty = std::max(1.0F, static_cast<float>(args.number("--repetition-penalty")));
  if (args.has("--seed")) options.sampling.seed = static_cast<uint64_t>(args.integer("--seed"));
  check_sampling(options.sampling, 0);
  if (args.has("--max-tokens")) options.max_tokens = args.integer("--max-tokens");
  options.use_template = !args.has("--no-chat-template");
  options.show_reasoning = !args.has("--no-reasoning") && !args.has("--hide-reasoning");
  options.stream = !args.has("--no-stream") && !args.has("--json") && isatty(STDOUT_FILENO);
  options.verbose = args.has("--verbose");
  options.draft = read_speculation(args, options.text);
  options.record = read_record_folder(args);
  options.record_redact = args.has("--record-redact");
  return options;
}

void check_translation(const Args& args) {
  if (args.has("--to-language") && !args.has("--audio")) {
    throw Error(ErrorKind::invalid, "--to-language requires --audio FILE.");
  }
  if (!args.has("--translate")) return;
  const std::string target = args.text("--translate");
  if (target != "en") {
    throw Error(ErrorKind::invalid, fmt::format("--translate only supports English target ('en'); got '{}'.", target),
                "--to-language names another one");
  }
  if (!args.has("--audio")) throw Error(ErrorKind::invalid, "--translate requires --audio FILE.");
}

int run_audio(const Args& args) {
  if (args.has("--image")) throw Error(ErrorKind::invalid, "--audio and --image cannot be given together");
  // Without a prompt there is no context: the default question of a chat was not said before.
  const SpeechRun run = read_speech_run(args, given_prompt(args));
  apply_threads(args);
  return run_speech(run);
}

Json run_data(const Args& args, const RunOptions& options, const OpenedModel& model, const GeneratedAnswer& answer,
              const std::string& response) {
  return {
      {"model", args.word("model")},
      {"prompt", *options.prompt},
      {"response", response},
      {"finish_reason", finish_reason_name(answer.reason)},
      {"usage", {{"prompt_tokens", answer.usage.prompt_tokens}, {"completion_tokens", answer.usage.completion_tokens}}},
      {"timings",
       {{"load_s", model.load_seconds()},
        {"first_token_s", answer.timings.first_token_s},
        {"tokens_per_s", answer.tokens_per_second()}}}};
}

GeneratedAnswer run_text(OpenedModel& model, const RunOptions& options,
                         const std::function<void(const std::string&)>& write) {
  PartFormatter formatter(options.show_reasoning);
  PreparedRun prepared = prepare_run(model, options, first_messages(options));
  load_for_run(model, options);
  return run_prepared(model, options, std::move(prepared),
                      [&](const std::vector<Part>& parts) { write(formatter.format(parts)); });
}

int run_run(const Args& args) {
  check_translation(args);
  if (args.has("--audio")) {
    if (!asks_about_recordings(args)) return run_audio(args);
    check_question(args);
  }
  const std::vector<AudioFile> recordings = read_recordings(args.list("--audio"), read_audio_limit(args));
  const std::vector<ImageFile> images = read_images(args.list("--image"));
  RunOptions options = read_options(args);
  const bool json = args.has("--json");
  if (!options.prompt && json) {
    throw Error(ErrorKind::invalid, "Interactive mode not compatible with JSON output");
  }
  if (!options.prompt && !isatty(STDIN_FILENO)) {
    throw Error(ErrorKind::invalid, "there is no prompt: none on the command line, and stdin is empty",
                "a chat needs a terminal");
  }
  apply_threads(args);
  options.model = runnable_argument(args.word("model"));
  OpenedModel model(options.model, options.facts, open_engine, options.text, options.draft,
                    /*images_may_come=*/!options.prompt);
  // Never freed: freeing a vocabulary string by string would take a tenth of a short answer's time.
  static const auto* const tokenizer = new std::shared_ptr(model.tokenizer());
  static_cast<void>(tokenizer);
  if (!options.prompt) return run_chat(model, options);
  std::string text;
  const auto write = [&](const std::string& piece) {
    text += piece;
    if (!options.stream) return;
    const std::string shown = without_controls(piece);  // streaming requires a terminal
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fflush(stdout);
  };
  const InterruptGuard guard;
  const GeneratedAnswer answer =
      !recordings.empty() ? run_recordings(model, options, recordings, images, write)
      : images.empty()    ? run_text(model, options, write)
                          : run_images(model, options, images, static_cast<int>(args.integer("--chunk")), write);
  if (json) {
    print_json(success_envelope("run", run_data(args, options, model, answer, text)));
  } else {
    print_line(options.stream ? "" : text);
  }
  if (answer.reason != FinishReason::cancelled) return 0;
  fmt::print(stderr, "[Generation interrupted by user]\n");
  return error_kind_info(ErrorKind::cancelled).exit_code;
}
}  // namespace

extern const Command kRunCommand;
const Command kRunCommand = {
    .name = "run",
    .help = "run a prompt, or start a chat (no prompt)",
    .positionals = {{"model", PositionalKind::required, kModelHelp},
                    {"prompt", PositionalKind::rest, "words of the prompt; `-` is all of stdin, `@FILE` a file"}},
    .options = run_options(),
    .run = run_run,
    .environment =
        model_places({{"MLXK_MEMORY_LIMIT", "memory that models may use, in bytes"},
                      {"MLXK2_AUDIO_SEGMENTS", "1: append a table of segments to a transcript"},
                      {"MLXK2_EXIF_METADATA", "0: prompt and table omit the place, date and camera of images"},
                      {"MLXK2_ENABLE_PIPES", "accepted; `-` needs no gate"}}),
    .error_type = "execution_error",
    .bare_errors = true,
};

}  // namespace mlxk
