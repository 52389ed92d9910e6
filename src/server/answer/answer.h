#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/completion.h"
#include "record/recorded_run.h"
#include "server/answer/answer_writer.h"
#include "worker/request.h"

namespace mlxk {

class ServedText;
struct ApiCall;
struct ServerContext;

/// One choice of an answer, as the engine generates it.
struct ChoicePlan {
  GenerateRequest request;
  Completion completion;
  std::string echo;                           // the prompt's text, if it is part of the answer
  std::vector<int32_t> ends;                  // as in AnswerChoice; the engine does not know them
  bool prompt_only = false;                   // the engine's one token is dropped
  std::optional<ConstraintSource> held = {};  // what the request's constraint was made of, for a record
};

/// An answer before its generation.
struct AnswerPlan {
  std::unique_ptr<AnswerWriter> writer;
  std::shared_ptr<const ServedText> model;
  std::vector<ChoicePlan> choices;
  int choices_per_prompt = 1;  // they share a prompt, which is counted once
  bool stream = false;         // `writer` writes a stream
  bool logprobs = false;
  bool inline_reasoning = false;
};

/// Submits the choices and answers `call.exchange`, whole or streamed, as tokens arrive; cancels the choices when the
/// client leaves. A failure before the first byte has its own status, a later one is an event of the stream. Any
/// thread.
void run_answer(ServerContext& context, const ApiCall& call, AnswerPlan plan);

}  // namespace mlxk
