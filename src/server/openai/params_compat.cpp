// The fields that vLLM, llama.cpp, LM Studio and mlx-lm add to OpenAI's requests.
#include <algorithm>
#include <limits>

#include "server/openai/fields.h"
#include "server/openai/params_grammar.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;

constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();

Json whole() { return integer(std::numeric_limits<int64_t>::min(), kMaxInteger); }
Json any_number() { return {{"type", "number"}}; }
Json ids() { return array(integer(0, std::numeric_limits<int32_t>::max()), 0, 1024); }

/// llama.cpp's window of all three penalties: -1 is everything, 0 is off.
void read_repeat_last_n(const Json& value, AnswerParams& params) {
  Sampling& s = params.sampling;
  const int last = value.get<int>();
  s.repetition_context_size = s.presence_context_size = s.frequency_context_size = std::max(last, 0);
  if (last != 0) return;
  s.repetition_penalty = 1;
  s.presence_penalty = s.frequency_penalty = 0;
}

std::vector<Field<AnswerParams>> make_compat_fields() {
  using P = AnswerParams;
  using F = Field<P>;
  const Json no = Json::array({false}), yes = Json::array({true}), empty_list = Json::array({Json::array()}),
             empty_object = Json::array({Json::object()}), zero = Json::array({0}), one = Json::array({1}),
             zero_or_less = Json::array({0, -1});
  Json repetition_penalty = answer_field("repetition_penalty").schema;
  repetition_penalty.erase("default");
  return {
      {"n_predict", Use::honoured, answer_field("max_tokens").schema, "As max_tokens; both only if equal",
       answer_field("max_tokens").read},
      {"repeat_penalty", Use::honoured, repetition_penalty, "As repetition_penalty; both only if equal",
       answer_field("repetition_penalty").read},
      {"repeat_last_n", Use::honoured, integer(-1, 1'000'000),
       "Window of all three penalties; -1: all tokens, 0: no penalties", read_repeat_last_n},
      {"min_keep", Use::honoured, integer(0, 1'000'000), "Minimum number of tokens that top-p, min-p and XTC keep",
       [](const Json& v, P& p) { p.sampling.min_tokens_to_keep = std::max(1, v.get<int>()); }},
      {"stop_token_ids", Use::honoured, ids(), "The answer ends before one of these tokens",
       [](const Json& v, P& p) { p.stop_token_ids = v.get<std::vector<int32_t>>(); }},
      {"ignore_eos", Use::honoured, boolean(), "Excludes the model's end-of-sequence tokens",
       [](const Json& v, P& p) { p.ignore_eos = v; }},
      {"min_tokens", Use::honoured, answer_field("max_tokens").schema, "Above 0 only with ignore_eos"},
      {"json_schema", Use::honoured, object(), "Constrains the answer with a JSON schema", read_json_schema},
      {"structured_outputs", Use::honoured, structured_outputs_schema(),
       "Constrains the answer: `json`, `regex`, `choice` or `json_object`", read_structured_outputs},
      {"guided_json", Use::honoured, guided_json_schema(), "As structured_outputs.json", read_guided_json},
      {"guided_regex", Use::honoured, text(1), "As structured_outputs.regex", read_guided_regex},
      {"guided_choice", Use::honoured, choices_schema(), "As structured_outputs.choice", read_guided_choice},

      F::ignored("priority", whole(), "Requests are served in the order of arrival"),
      F::ignored("request_id", text(), "Logs and answers show the header X-Request-ID"),
      F::ignored("session_id", text(), "The prefix cache compares tokens"),
      F::ignored("guided_decoding_backend", text(), "There is only one back end"),
      F::ignored("spaces_between_special_tokens", boolean(), "Special tokens are not shown"),
      F::ignored("truncation_side", text(), "Prompts are not truncated"),
      F::ignored("stream_interval", whole(), "Tokens are sent as soon as they are known"),
      F::ignored("return_token_offsets", boolean(), "Applies to other endpoints"),
      F::ignored("return_mm_kwargs", boolean(), "Applies to other endpoints"),
      F::ignored("cache_prompt", boolean(), "Prefix caching is always on"),
      F::ignored("id_slot", whole(), "There are no slots"),
      F::ignored("n_keep", whole(), "The context is not shifted"),
      F::ignored("n_discard", whole(), "The context is not shifted"),
      F::ignored("timings_per_token", boolean(), "Timings are in the log and in /metrics"),
      F::ignored("return_progress", boolean(), "Streams carry comments while a prompt is computed"),
      F::ignored("sse_ping_interval", whole(), "The server decides how often an idle stream carries a comment"),
      F::ignored("mirostat_tau", any_number(), "Part of mirostat"),
      F::ignored("mirostat_eta", any_number(), "Part of mirostat"),
      F::ignored("dynatemp_exponent", any_number(), "Part of dynatemp_range"),
      F::ignored("adaptive_decay", any_number(), "Part of adaptive_target"),
      F::ignored("ttl", whole(), "--idle-timeout decides when a model is unloaded"),
      F::ignored("draft_model", text(), "Set by --draft-model; drafts do not change the answer"),
      F::ignored("num_draft_tokens", whole(), "Set by --draft-tokens; drafts do not change the answer"),

      F::refused("use_beam_search", "answers are sampled", no),
      F::refused("length_penalty", "part of beam search", one),
      F::refused("early_stopping", "part of beam search", no),
      F::refused("include_stop_str_in_output", "an answer ends before its stop text", no),
      F::refused("skip_special_tokens", "special tokens are not shown", yes),
      F::refused("truncate_prompt_tokens", "a prompt that is too long is refused"),
      F::refused("prompt_logprobs", "use /v1/completions with echo and logprobs"),
      F::refused("logprob_token_ids", "use top_logprobs", empty_list),
      F::refused("allowed_token_ids", "use grammar or logit_bias", empty_list),
      F::refused("bad_words", "use logit_bias", empty_list),
      F::refused("logits_processors", "code from clients is not run", empty_list),
      F::refused("guided_grammar", "use grammar, which takes Lark grammars"),
      F::refused("guided_whitespace_pattern", "whitespace in JSON is bounded"),
      F::refused("prompt_embeds", "prompts must be texts or token ids"),
      F::refused("mm_processor_kwargs", "the checkpoint decides how media are prepared", empty_object),
      F::refused("media_io_kwargs", "the checkpoint decides how media are prepared", empty_object),
      F::refused("return_tokens_as_token_ids", "tokens are returned as text", no),
      F::refused("return_token_ids", "use /tokenize", no),
      F::refused("return_prompt_text", "use /apply-template", no),
      F::refused("routed_experts_prompt_start", "routed experts are not returned", zero),
      F::refused("kv_transfer_params", "keys and values cannot be transferred", empty_object),
      F::refused("ec_transfer_params", "keys and values cannot be transferred", empty_object),
      F::refused("vllm_xargs", "extensions are not supported", empty_object),
      F::refused("repetition_detection", "use penalties or DRY"),
      F::refused("cache_salt", "cached prefixes are shared within an API key only"),
      F::refused("watermarking", "answers are not watermarked", no),
      F::refused("dynatemp_range", "the temperature is fixed", zero),
      F::refused("typical_p", "use top_p or min_p", one),
      F::refused("tfs_z", "use top_p or min_p", one),
      F::refused("top_n_sigma", "use top_p or min_p", zero_or_less),
      F::refused("adaptive_target", "use top_p or min_p", Json::array({-1})),
      F::refused("mirostat", "use top_p or min_p", zero),
      F::refused("samplers", "the order of the samplers is fixed"),
      F::refused("n_indent", "use grammar", zero),
      F::refused("n_cmpl", "use n", one),
      F::refused("n_probs", "use logprobs", zero),
      F::refused("post_sampling_probs", "log-probabilities are those before sampling", no),
      F::refused("t_max_predict_ms", "use deadline_ms", zero_or_less),
      F::refused("return_tokens", "use /tokenize", no),
      F::refused("response_fields", "answers always have OpenAI's fields", empty_list),
      F::refused("lora", "adapters must be fused into the model first", empty_list),
      F::refused("adapters", "adapters must be fused into the model first"),
      F::refused("role_mapping", "the chat template defines the roles"),
  };
}

}  // namespace

const std::vector<Field<AnswerParams>>& compat_fields() {
  static const auto fields = make_compat_fields();
  return fields;
}

}  // namespace mlxk
