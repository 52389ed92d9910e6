#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "chat/prompt.h"
#include "server/answer/answer.h"
#include "server/api_error.h"
#include "server/context.h"
#include "server/openai/answer_writers.h"
#include "server/openai/params.h"
#include "serving/max_new_tokens.h"
#include "serving/served_model.h"

namespace mlxk {

/// A chat with a recording: a speech model answers `call` with its transcript. `params` belong to `body`. Throws for
/// options that the model, or a transcript, does not support.
void transcribe_chat(ServerContext& context, ApiCall call, const Json& body, ChatParams params);

/// The head of an answer that begins now, under an id of its own.
AnswerHead new_head(AnswerHead::Kind kind, const std::string& model);

/// Returns `act()`; a ContextFull that it throws becomes ApiError 400 naming `param`.
template <class Act>
auto blame_prompt(const std::string& param, Act act) {
  try {
    return act();
  } catch (const ContextFull& e) {
    throw ApiError(ErrorKind::invalid, e.what(), param, "context_length_exceeded");
  }
}

/// encode_within for the context of `model`; a longer prompt is ApiError 400 naming `param`.
template <class Encode>
auto prompt_within(const ServedText& model, const std::string& param, Encode encode) {
  return blame_prompt(param, [&] { return encode_within(model.info().context_length, encode); });
}

/// The plan of an answer by `model`, without its choices.
AnswerPlan plan_answer(const ServerContext& context, const AnswerParams& params, AnswerHead::Kind kind,
                       std::shared_ptr<const ServedText> model);

/// The engine's request for the first choice of a prompt. Throws ApiError 400 naming `param` if the prompt is empty or
/// too long.
GenerateRequest engine_request(const ServerContext& context, const ApiCall& call, const AnswerParams& params,
                               const ServedText& model, const std::vector<int32_t>& prompt, const std::string& param);

/// `count` choices as the first, which nobody has used yet; with a seed each has the next one. `count` is at least 1.
void add_choices(AnswerPlan& plan, ChoicePlan first, int count);

/// Returns `act()`; an invalid Error that it throws becomes ApiError 400 naming the field `param`.
template <class Act>
auto blame_field(const char* param, Act act) {
  try {
    return act();
  } catch (const ApiError&) {
    throw;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::invalid) throw;
    throw ApiError(ErrorKind::invalid, e.what(), param);
  }
}

/// The source of constraint_of's constraint, if answers are recorded.
std::optional<ConstraintSource> held_source(const ServerContext& context, const AnswerParams& params,
                                            const ToolOptions& tools, const ReasoningFormat& reasoning);

/// make_constraint for the request; null if it has no constraint. Throws ApiError naming the field.
std::shared_ptr<TokenConstraint> constraint_of(const ServedText& model, const AnswerParams& params,
                                               const ToolOptions& tools, const ToolFormat* format,
                                               const ReasoningFormat& reasoning);

}  // namespace mlxk
