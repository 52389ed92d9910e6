#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chat/completion.h"
#include "server/answer/answer_writer.h"
#include "server/context.h"
#include "serving/served_model.h"
#include "worker/request.h"

namespace mlxk {

/// One choice that the engine is asked for.
struct ChoicePlan {
  GenerateRequest request;
  Completion completion;
  std::string echo;           // the prompt's text, where it is to come first
  std::vector<int32_t> ends;  // as AnswerChoice; the engine does not know them
  bool prompt_only = false;   // the engine's one token is dropped
};

/// An answer that is ready to be generated.
struct AnswerPlan {
  std::unique_ptr<AnswerWriter> writer;
  std::shared_ptr<const ServedText> model;
  std::vector<ChoicePlan> choices;
  int choices_per_prompt = 1;  // they share their prompt, which is counted once
  bool stream = false;         // `writer` writes a stream
  bool logprobs = false;
  bool inline_reasoning = false;
};

/// Submits the choices and answers `call.exchange`, whole or streamed, as their tokens come; cancels them when the
/// client goes. A failure before the first byte has its own status; one behind it is an event of the stream. Any
/// thread.
void run_answer(ServerContext& context, const ApiCall& call, AnswerPlan plan);

}  // namespace mlxk
