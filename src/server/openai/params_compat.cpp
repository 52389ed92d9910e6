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
  const auto ignored = [](const char* name, Json schema, const char* text) {
    return Field<P>{name, Use::without_effect, std::move(schema), text};
  };
  const auto refused = [](const char* name, const char* reason, const Json& harmless = Json::array()) {
    return Field<P>{name, Use::refused, unsupported(reason, harmless), reason};
  };
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
       "The window of all three penalties; -1: everything, 0: no penalties", read_repeat_last_n},
      {"min_keep", Use::honoured, integer(0, 1'000'000), "Top-p, min-p and XTC keep at least so many tokens",
       [](const Json& v, P& p) { p.sampling.min_tokens_to_keep = std::max(1, v.get<int>()); }},
      {"stop_token_ids", Use::honoured, ids(), "The answer ends before one of these tokens",
       [](const Json& v, P& p) { p.stop_token_ids = v.get<std::vector<int32_t>>(); }},
      {"ignore_eos", Use::honoured, boolean(), "The model's own end-of-sequence tokens are not chosen",
       [](const Json& v, P& p) { p.ignore_eos = v; }},
      {"min_tokens", Use::honoured, answer_field("max_tokens").schema, "More than 0 only with ignore_eos"},
      {"json_schema", Use::honoured, object(), "A schema that the answer is held to", read_json_schema},
      {"structured_outputs", Use::honoured, structured_outputs_schema(),
       "`json`, `regex`, `choice` or `json_object`, which the answer is held to", read_structured_outputs},
      {"guided_json", Use::honoured, guided_json_schema(), "As structured_outputs.json", read_guided_json},
      {"guided_regex", Use::honoured, text(1), "As structured_outputs.regex", read_guided_regex},
      {"guided_choice", Use::honoured, choices_schema(), "As structured_outputs.choice", read_guided_choice},

      ignored("priority", whole(), "Requests are served in the order in which they come"),
      ignored("request_id", text(), "The header X-Request-ID is what logs and answers show"),
      ignored("session_id", text(), "Prefixes are found by comparison"),
      ignored("guided_decoding_backend", text(), "There is one"),
      ignored("spaces_between_special_tokens", boolean(), "Special tokens are not shown"),
      ignored("truncation_side", text(), "Prompts are not truncated"),
      ignored("stream_interval", whole(), "Tokens are sent as they come"),
      ignored("return_token_offsets", boolean(), "Of other endpoints"),
      ignored("return_mm_kwargs", boolean(), "Of other endpoints"),
      ignored("cache_prompt", boolean(), "Prefixes that were computed are found without being asked for"),
      ignored("id_slot", whole(), "There are no slots"),
      ignored("n_keep", whole(), "The context is not shifted"),
      ignored("n_discard", whole(), "The context is not shifted"),
      ignored("timings_per_token", boolean(), "The log and /metrics have times"),
      ignored("return_progress", boolean(), "Streams have comments while a prompt is computed"),
      ignored("sse_ping_interval", whole(), "The server says how often a silent stream has a comment"),
      ignored("mirostat_tau", any_number(), "Of mirostat"),
      ignored("mirostat_eta", any_number(), "Of mirostat"),
      ignored("dynatemp_exponent", any_number(), "Of dynatemp_range"),
      ignored("adaptive_decay", any_number(), "Of adaptive_target"),
      ignored("ttl", whole(), "The server's --idle-timeout says when a model is unloaded"),
      ignored("draft_model", text(), "The server's --draft-model; guessed tokens change no answer"),
      ignored("num_draft_tokens", whole(), "The server's --draft-tokens; guessed tokens change no answer"),

      refused("use_beam_search", "answers are sampled", no),
      refused("length_penalty", "it belongs to beam search", one),
      refused("early_stopping", "it belongs to beam search", no),
      refused("include_stop_str_in_output", "an answer ends before its stop text", no),
      refused("skip_special_tokens", "special tokens are not shown", yes),
      refused("truncate_prompt_tokens", "a prompt that is too long is a 400"),
      refused("prompt_logprobs", "completions score a prompt by echo with logprobs"),
      refused("logprob_token_ids", "top_logprobs gives the likeliest tokens", empty_list),
      refused("allowed_token_ids", "hold the answer to a grammar, or use logit_bias", empty_list),
      refused("bad_words", "use logit_bias", empty_list),
      refused("logits_processors", "clients bring no code", empty_list),
      refused("guided_grammar", "the field grammar takes Lark grammars"),
      refused("guided_whitespace_pattern", "blanks in JSON are bounded here"),
      refused("prompt_embeds", "prompts are texts or token ids"),
      refused("mm_processor_kwargs", "the checkpoint says how media are prepared", empty_object),
      refused("media_io_kwargs", "the checkpoint says how media are prepared", empty_object),
      refused("return_tokens_as_token_ids", "tokens are shown as texts", no),
      refused("return_token_ids", "/tokenize gives ids", no),
      refused("return_prompt_text", "/apply-template gives the prompt", no),
      refused("routed_experts_prompt_start", "experts are not shown", zero),
      refused("kv_transfer_params", "keys and values stay in the server", empty_object),
      refused("ec_transfer_params", "keys and values stay in the server", empty_object),
      refused("vllm_xargs", "there are no extensions", empty_object),
      refused("repetition_detection", "penalties and DRY hold off repetitions"),
      refused("cache_salt", "prefixes are shared among the requests of one API key"),
      refused("watermarking", "answers are not watermarked", no),
      refused("dynatemp_range", "the temperature is fixed", zero),
      refused("typical_p", "use top_p or min_p", one),
      refused("tfs_z", "use top_p or min_p", one),
      refused("top_n_sigma", "use top_p or min_p", zero_or_less),
      refused("adaptive_target", "use top_p or min_p", Json::array({-1})),
      refused("mirostat", "use top_p or min_p", zero),
      refused("samplers", "the order of the samplers is fixed"),
      refused("n_indent", "hold the answer to a grammar", zero),
      refused("n_cmpl", "use n", one),
      refused("n_probs", "use logprobs", zero),
      refused("post_sampling_probs", "log-probabilities are those of the model", no),
      refused("t_max_predict_ms", "use deadline_ms", zero_or_less),
      refused("return_tokens", "/tokenize gives ids", no),
      refused("response_fields", "answers have OpenAI's fields", empty_list),
      refused("lora", "adapters are fused into a model before it is served", empty_list),
      refused("adapters", "adapters are fused into a model before it is served"),
      refused("role_mapping", "the chat template names the roles"),
  };
}

}  // namespace

const std::vector<Field<AnswerParams>>& compat_fields() {
  static const auto fields = make_compat_fields();
  return fields;
}

}  // namespace mlxk
