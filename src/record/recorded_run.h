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

/// The constraints of an answer, the arguments of make_constraint.
struct ConstraintSource {
  AnswerGrammar grammar;
  ToolOptions tools;
  ReasoningFormat reasoning;
};

/// An answer of a text model with all that is needed to reproduce it: a file of `--record`.
struct RecordedRun {
  std::string version;     // of the program
  DeviceFacts device;      //
  std::string created_at;  // "2026-01-31T23:59:59Z"
  ModelRef model;
  std::string content_hash;              // "sha256:…"; empty: undefined
  GenerateRequest request;               // without constraint, scope and deadline; the prompt is empty if redacted
  int64_t prompt_tokens = 0;             // also if the prompt is left out
  std::optional<ConstraintSource> held;  // the request's constraint; left out if redacted
  bool constrained = false;              // also if `held` is left out
  FinishReason reason = FinishReason::stop;
  std::vector<TokenEvent> tokens;

  bool redacted() const { return request.prompt.empty(); }
};

/// `run` as a JSON document; `redact` leaves out prompt, images, and the schema or tools that constrain the answer.
Json record_json(const RecordedRun& run, bool redact);

/// Reads a file written from record_json; throws io, bad_model naming file and field.
RecordedRun read_record(const std::filesystem::path& path);

}  // namespace mlxk
