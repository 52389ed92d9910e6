#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "chat/answer_grammar.h"
#include "chat/reasoning.h"
#include "chat/tools.h"
#include "hub/resolve.h"
#include "json/json_fwd.h"
#include "worker/event.h"
#include "worker/facts.h"
#include "worker/request.h"

namespace mlxk {

/// What an answer is held to, as make_constraint takes it.
struct ConstraintSource {
  AnswerGrammar grammar;
  ToolOptions tools;
  ReasoningFormat reasoning;
};

/// An answer of a text model with all that is needed to have it again: a file of `--record`.
struct RecordedRun {
  std::string version;     // of the program
  DeviceFacts device;      //
  std::string created_at;  // "2026-01-31T23:59:59Z"
  ModelRef model;
  std::string content_hash;              // "sha256:…"; empty: undefined
  GenerateRequest request;               // without constraint, scope and deadline; the prompt is empty where redacted
  int64_t prompt_tokens = 0;             // also where the prompt is left out
  std::optional<ConstraintSource> held;  // the request's constraint; left out where redacted
  bool constrained = false;              // also where `held` is left out
  FinishReason reason = FinishReason::stop;
  std::vector<TokenEvent> tokens;

  bool redacted() const { return request.prompt.empty(); }
};

/// `run` as a JSON document; `redact` leaves out prompt, images, and the schema or tools that the answer is held to.
Json record_json(const RecordedRun& run, bool redact);

/// Reads a file of record_json; throws io, bad_model naming file and field.
RecordedRun read_record(const std::filesystem::path& path);

}  // namespace mlxk
