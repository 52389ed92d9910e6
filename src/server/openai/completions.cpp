// POST /v1/completions
#include <fmt/format.h>

#include "chat/prompt.h"
#include "server/api_error.h"
#include "server/openai/body.h"
#include "server/openai/endpoints.h"
#include "server/openai/prepare.h"

namespace mlxk {

namespace {
/// A prompt's text and ids; ids that were given as such are what the model gets.
Prompt prompt_of(const std::variant<std::string, std::vector<int32_t>>& given, const Tokenizer& tokenizer,
                 const std::string& param, bool echo) {
  if (const auto* text = std::get_if<std::string>(&given)) return raw_prompt(*text, tokenizer);
  Prompt prompt;
  prompt.ids = std::get<std::vector<int32_t>>(given);
  for (const int32_t id : prompt.ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) {
      throw ApiError(ErrorKind::invalid,
                     fmt::format("token id {} is out of range: the vocabulary has {}", id, tokenizer.vocab_size()),
                     param);
    }
  }
  if (echo) prompt.text = tokenizer.decode(prompt.ids, false);
  return prompt;
}

void answer_completion(ServerContext& context, const ApiCall& call, const CompletionParams& params,
                       std::shared_ptr<const ServedText> model) {
  AnswerPlan plan = plan_answer(context, params, AnswerHead::Kind::completion, model);
  for (size_t p = 0; p < params.prompts.size(); ++p) {
    const std::string param = params.prompts.size() > 1 ? fmt::format("prompt[{}]", p) : "prompt";
    const Prompt prompt = prompt_of(params.prompts[p], *model->tokenizer(), param, params.echo);
    check_connected(call);
    GenerateRequest request = engine_request(context, call, params, *model, prompt.ids, param);
    request.prompt_logprobs = params.echo && params.top_logprobs >= 0;
    request.constraint = constraint_of(*model, params.grammar, {}, nullptr, {});
    add_choices(plan,
                {std::move(request), Completion(model->tokenizer(), params.stops, {}),
                 params.echo ? prompt.text : std::string()},
                params.n);
  }
  run_answer(context, call, std::move(plan));
}
}  // namespace

void completions(ServerContext& context, ApiCall call) {
  const auto params = std::make_shared<const CompletionParams>(parse_completion(parse_object(call.request.body)));
  call.request.body.clear();
  with_model(context, std::move(call), *params, {Context::server, false, false},
             [&context, params](const ApiCall& call, std::shared_ptr<const ServedText> model) {
               answer_completion(context, call, *params, std::move(model));
             });
}

}  // namespace mlxk
