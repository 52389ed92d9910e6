// POST /v1/completions
#include <fmt/format.h>

#include "base/stop.h"
#include "chat/prompt.h"
#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/endpoints.h"
#include "server/openai/prepare.h"
#include "server/preparation.h"
#include "serving/served_model.h"

namespace mlxk {

namespace {
/// A prompt's text and ids; ids given by the client are passed to the model unchanged.
Prompt prompt_of(const std::variant<std::string, std::vector<int32_t>>& given, const Tokenizer& tokenizer,
                 const std::string& param, const CompletionParams& params, size_t most) {
  Prompt prompt;
  if (const auto* text = std::get_if<std::string>(&given)) {
    if (params.add_special_tokens) return raw_prompt(*text, tokenizer, most);
    return {*text, tokenizer.encode(*text, false, most)};
  }
  prompt.ids = std::get<std::vector<int32_t>>(given);
  for (const int32_t id : prompt.ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      throw ApiError(ErrorKind::invalid,
                     fmt::format("token id {} is out of range: the vocabulary has {}", id, tokenizer.vocab_size()),
                     param);
    }
  }
  if (params.echo) prompt.text = tokenizer.decode(prompt.ids, false);
  return prompt;
}

void answer_completion(ServerContext& context, const ApiCall& call, const CompletionParams& params,
                       std::shared_ptr<const ServedText> model) {
  AnswerPlan plan = plan_answer(context, params, AnswerHead::Kind::completion, model);
  const Completion fresh(model->tokenizer(), params.stops, {});
  for (size_t p = 0; p < params.prompts.size(); ++p) {
    const std::string param = params.prompts.size() > 1 ? fmt::format("prompt[{}]", p) : "prompt";
    const Prompt prompt = prompt_within(*model, param, [&](size_t most) {
      return prompt_of(params.prompts[p], *model->tokenizer(), param, params, most);
    });
    check_stop();
    GenerateRequest request = engine_request(context, call, params, *model, prompt.ids, param);
    request.prompt_logprobs = params.echo && params.top_logprobs >= 0;
    // Harnesses count on a score for every token, the one that ends the answer too.
    std::vector<int32_t> ends;
    if (request.prompt_logprobs) ends.swap(request.eos_token_ids);
    request.constraint = constraint_of(*model, params, {}, nullptr, {});
    add_choices(plan,
                {std::move(request), fresh.again(), params.echo ? prompt.text : std::string(), std::move(ends),
                 params.max_tokens == 0, held_source(context, params, {}, {})},
                params.n);
  }
  run_answer(context, call, std::move(plan));
}
}  // namespace

void completions(ServerContext& context, ApiCall call) {
  const auto params = std::make_shared<const CompletionParams>(parse_completion(parse_object(call.request.body)));
  call.request.body.clear();
  with_model(context, std::move(call), params->model, {Context::server, false, false},
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_completion(context, call, *params, std::move(model));
             });
}

}  // namespace mlxk
