#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "json/json.h"
#include "serving/generate.h"
#include "serving/opened_model.h"
#include "worker/request.h"

namespace mlxk {

/// The parsed arguments of `mlxk run`.
struct RunOptions {
  std::string model;                  // a spec for resolve_model
  std::optional<std::string> prompt;  // absent: interactive chat
  std::string system;
  std::vector<std::string> stops;
  Sampling sampling;
  std::optional<int64_t> max_tokens;
  bool use_template = true;
  bool show_reasoning = true;
  bool stream = true;
  bool verbose = false;
  LoadOptions text;
  std::string draft;  // the draft model's name or folder; empty: none
  RequestFacts facts;
  std::string record;  // the folder that answers are recorded in; empty: they are not
  bool record_redact = false;
};

/// A prepared answer: the request for the engine and the conversion of its ids to text.
struct PreparedRun {
  Prompt prompt;
  GenerateRequest request;
  Completion completion;
};

/// Renders and counts the prompt; throws invalid if it does not fit into the model's context. `images` belong to the
/// messages' parts {"type": "image"}, `audio` to those of type "audio". Needs no weights.
PreparedRun prepare_run(const OpenedModel& model, const RunOptions& options, const Json& messages,
                        const std::vector<std::string>& extra_stops = {}, const PromptImages* images = nullptr,
                        const PromptAudio* audio = nullptr);

/// Reads the weights unless they have been read.
void load_for_run(OpenedModel& model, const RunOptions& options);

/// Runs the prepared answer on a loaded model; parts go to `on_parts` as they arrive. Ctrl-C stops it under an
/// InterruptGuard.
GeneratedAnswer run_prepared(OpenedModel& model, const RunOptions& options, PreparedRun run,
                             const std::function<void(const std::vector<Part>&)>& on_parts);

/// [{system}, {user}] from the options, with `images` images and `recordings` recordings before the user's prompt.
Json first_messages(const RunOptions& options, size_t images = 0, size_t recordings = 0);

}  // namespace mlxk
