#include "run/run_recordings.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "cli/model_argument.h"
#include "hub/resolve.h"
#include "run/prompt_input.h"
#include "terminal/markdown.h"

namespace mlxk {

bool asks_about_recordings(const Args& args) {
  const bool asks = args.has("--prompt") || !args.words("prompt").empty() || args.has("--image");
  if (!asks) return false;
  try {
    return probe_model(resolve_model(runnable_argument(args.word("model")))).audio_backend == AudioBackend::multimodal;
  } catch (const Error&) {
    return false;  // run_audio reports wrong arguments first, then the model
  }
}

void check_question(const Args& args) {
  for (const char* flag : {"--format", "--word-timestamps", "--output", "--language", "--translate", "--to-language",
                           "--hotwords", "--carry-initial-prompt", "--hallucination-silence-threshold", "--beam-size",
                           "--best-of", "--clip-timestamps", "--vad", "--no-itn", "--live", "--sample-rate"}) {
    if (args.given.count(flag) == 0) continue;
    throw Error(ErrorKind::usage, fmt::format("argument {}: only for transcripts", flag),
                "without a prompt the model writes a transcript");
  }
}

std::vector<AudioFile> read_recordings(const std::vector<std::string>& paths, uint64_t limit) {
  std::vector<AudioFile> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (path != "-" && !std::filesystem::is_regular_file(path, error)) {
      throw Error(ErrorKind::io, fmt::format("Audio file not found: {}", path), misplaced_prompt_hint(path));
    }
    std::ifstream in;
    if (path != "-") in.open(path, std::ios::binary);
    if (path != "-" && !in) throw Error(ErrorKind::io, fmt::format("cannot read the recording {}", path));
    std::string bytes = read_stream(path == "-" ? std::cin : in, limit);
    if (bytes.size() > limit) {
      throw Error(ErrorKind::invalid, fmt::format("Audio file too large (>{}MB): {}", limit >> 20, path),
                  "--audio-limit allows more");
    }
    files.push_back({std::move(bytes), path == "-" ? "stdin" : path});
  }
  return files;
}

GeneratedAnswer run_recordings(OpenedModel& model, const RunOptions& options, const std::vector<AudioFile>& recordings,
                               const std::vector<ImageFile>& images,
                               const std::function<void(const std::string& piece)>& write) {
  uint64_t limit = 0;
  for (const AudioFile& file : recordings) limit = std::max<uint64_t>(limit, file.bytes.size());
  const PromptAudio audio =
      process_recordings(*model.audio_processor(), recordings, model.info().context_length, limit);
  const auto seen = images.empty() ? std::nullopt : std::optional(process_images(*model.image_processor(), images));
  PreparedRun prepared = prepare_run(model, options, first_messages(options, images.size(), recordings.size()), {},
                                     seen ? &*seen : nullptr, &audio);
  load_for_run(model, options);
  PartFormatter formatter(options.show_reasoning);
  return run_prepared(model, options, std::move(prepared),
                      [&](const std::vector<Part>& parts) { write(formatter.format(parts)); });
}

}  // namespace mlxk
