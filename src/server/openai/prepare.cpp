#include "server/openai/prepare.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "chat/dry_breakers.h"
#include "server/openai/answer_writers.h"
#include "serving/max_new_tokens.h"
#include "serving/served_model.h"
#include "worker/facts.h"
#include "worker/model_handle.h"
#include "worker/sampling_check.h"

namespace mlxk {

namespace {
constexpr float kNever = -1e9F;  // added to a logit
constexpr int64_t kUnknownContextTokens = 2048;

/// How many tokens an answer may have: of a request that does not say, the server's default, else half of the context.
int64_t max_tokens_of(const ServerContext& context, const AnswerParams& params, int64_t context_length,
                      size_t prompt_tokens, const std::string& param) {
  int64_t fallback = context_length > 0 ? std::max<int64_t>(1, context_length / 2) : kUnknownContextTokens;
  if (context.default_max_tokens > 0) fallback = context.default_max_tokens;
  return blame_prompt(param, [&] {
    return max_new_tokens_for(context_length, static_cast<int64_t>(prompt_tokens), params.max_tokens, fallback);
  });
}
}  // namespace

AnswerHead new_head(AnswerHead::Kind kind, const std::string& model) {
  AnswerHead head;
  head.kind = kind;
  head.id = random_id(kind == AnswerHead::Kind::chat ? "chatcmpl-" : "cmpl-");
  head.model = model;
  head.created =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  return head;
}

AnswerPlan plan_answer(const ServerContext& context, const AnswerParams& params, AnswerHead::Kind kind,
                       std::shared_ptr<const ServedText> model) {
  AnswerHead head = new_head(kind, params.model);
  head.logprobs = params.top_logprobs >= 0;
  head.tokenizer = model->tokenizer();
  AnswerPlan plan;
  plan.logprobs = head.logprobs;
  plan.writer =
      params.stream ? make_answer_stream(std::move(head), params.include_usage) : make_answer_document(std::move(head));
  plan.model = std::move(model);
  plan.choices_per_prompt = params.n;
  plan.stream = params.stream;
  plan.inline_reasoning = context.inline_reasoning;
  return plan;
}

GenerateRequest engine_request(const ServerContext& context, const ApiCall& call, const AnswerParams& params,
                               const ServedText& model, const std::vector<int32_t>& prompt, const std::string& param) {
  if (prompt.empty()) throw ApiError(ErrorKind::invalid, "the prompt has no tokens", param);
  GenerateRequest request;
  request.max_tokens = max_tokens_of(context, params, model.info().context_length, prompt.size(), param);
  request.max_tokens = std::max<int64_t>(request.max_tokens, 1);  // of an answer of none the first token is dropped
  request.prompt = prompt;
  request.sampling = params.sampling;
  if (params.sampling.dry_multiplier > 0) {
    request.sampling.dry_breakers = dry_breakers(*model.tokenizer(), params.dry_sequence_breakers);
  }
  // Only now is it known which ids there are.
  const int64_t vocab_size = model.handle()->facts().vocab_size;
  blame_field("logit_bias", [&] { check_sampling(request.sampling, vocab_size); });
  request.eos_token_ids = model.tokenizer()->eos_token_ids();
  if (params.ignore_eos) {
    for (const int32_t id : request.eos_token_ids) {
      if (id < vocab_size) request.sampling.logit_bias.emplace_back(id, kNever);
    }
  }
  request.eos_token_ids.insert(request.eos_token_ids.end(), params.stop_token_ids.begin(), params.stop_token_ids.end());
  request.max_tokens_named = params.max_tokens.has_value();
  request.top_logprobs = params.top_logprobs;
  request.cache_scope = call.key_id;
  if (params.deadline_ms) {
    request.deadline = call.arrived + std::chrono::milliseconds(*params.deadline_ms);
    if (*request.deadline <= std::chrono::steady_clock::now()) {
      throw ApiError(ErrorKind::deadline, "deadline_ms passed before the answer could begin", "deadline_ms");
    }
  }
  return request;
}

void add_choices(AnswerPlan& plan, ChoicePlan first, int count) {
  for (int i = 1; i < count; ++i) {
    ChoicePlan next{first.request, first.completion.again(), first.echo, first.ends, first.prompt_only, first.held};
    next.request.constraint = another_constraint(first.request.constraint);
    if (next.request.sampling.seed)
      *next.request.sampling.seed += static_cast<uint64_t>(i);  // the choices are to differ
    plan.choices.push_back(std::move(next));
  }
  plan.choices.insert(plan.choices.end() - (count - 1), std::move(first));
}

std::optional<ConstraintSource> held_source(const ServerContext& context, const AnswerParams& params,
                                            const ToolOptions& tools, const ReasoningFormat& reasoning) {
  if (!context.recorder) return std::nullopt;
  return ConstraintSource{params.grammar, tools, reasoning};
}

std::shared_ptr<TokenConstraint> constraint_of(const ServedText& model, const AnswerParams& params,
                                               const ToolOptions& tools, const ToolFormat* format,
                                               const ReasoningFormat& reasoning) {
  const bool held = params.grammar.kind != AnswerGrammar::Kind::none;
  if (!held && !format) return nullptr;
  return blame_field(held ? params.grammar_field.c_str() : "tools",
                     [&] { return make_constraint(model.grammars(), params.grammar, tools, format, reasoning); });
}

}  // namespace mlxk
