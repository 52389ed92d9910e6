#include "server/openai/params.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/log.h"
#include "server/api_error.h"
#include "server/openai/fields.h"
#include "server/openai/params_grammar.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;

constexpr size_t kMaxStops = 1024;
constexpr int64_t kMaxTokens = 1'000'000'000;

float real(const Json& value) { return value.get<float>(); }
int whole(const Json& value) { return value.get<int>(); }

void read_stop(const Json& value, AnswerParams& params) {
  params.stops = value.is_string() ? std::vector{value.get<std::string>()} : value.get<std::vector<std::string>>();
  std::erase(params.stops, "");
}

void read_logit_bias(const Json& value, AnswerParams& params) {
  for (const auto& [key, bias] : value.items()) {
    const bool digits = !key.empty() && key.size() <= 10 && key.find_first_not_of("0123456789") == key.npos &&
                        (key[0] != '0' || key.size() == 1);
    const int64_t id = digits ? std::stoll(key) : -1;
    if (id < 0 || id > std::numeric_limits<int32_t>::max()) {
      refuse_field("logit_bias", fmt::format("logit_bias must have token ids as keys, got {}", shown(key)));
    }
    params.sampling.logit_bias.emplace_back(static_cast<int32_t>(id), real(bias));
  }
}

std::vector<Field<AnswerParams>> make_answer_fields() {
  using P = AnswerParams;
  const Json penalty_window = with_default(integer(0, 1'000'000), 20);
  return {
      {"model", Use::honoured, text(1), "A cached name, a workspace's name, or the value of --model",
       [](const Json& v, P& p) { p.model = v; }, true},
      {"max_tokens", Use::honoured, integer(-1, kMaxTokens),
       "Maximum tokens of an answer, 0 for none; absent or -1: the default of the server",
       [](const Json& v, P& p) {
         if (v != -1) p.max_tokens = v.get<int64_t>();
       }},
      {"n", Use::honoured, with_default(integer(1, kMaxAnswers), 1), "Number of answers to each prompt",
       [](const Json& v, P& p) { p.n = whole(v); }},
      {"seed", Use::honoured, integer(std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()),
       "The same seed samples the same tokens; absent or -1: a random one",
       [](const Json& v, P& p) {
         if (v != -1) p.sampling.seed = static_cast<uint64_t>(v.get<int64_t>());
       }},
      {"stop", Use::honoured, any_of({text(0, 256), array(text(0, 256), 0, kMaxStops)}),
       "The answer ends before the first of these texts; empty ones are ignored", read_stop},
      {"temperature", Use::honoured, with_default(number(0, 2), 0.7), "0 picks the likeliest token",
       [](const Json& v, P& p) { p.sampling.temperature = real(v); }},
      // 0 leaves only the likeliest.
      {"top_p", Use::honoured, with_default(number(0, 1), 0.9),
       "Keeps the likeliest tokens with this total probability; 1 is off",
       [](const Json& v, P& p) { p.sampling.top_p = std::max(real(v), std::numeric_limits<float>::min()); }},
      {"top_k", Use::honoured, with_default(integer(-1, 1'000'000), 0),
       "Keeps this many of the likeliest tokens; 0 and -1 are off",
       [](const Json& v, P& p) { p.sampling.top_k = std::max(whole(v), 0); }},
      {"min_p", Use::honoured, with_default(number(0, 1), 0),
       "Keeps tokens with at least this probability relative to the likeliest",
       [](const Json& v, P& p) { p.sampling.min_p = real(v); }},
      {"xtc_probability", Use::honoured, with_default(number(0, 1), 0), "Probability that XTC removes the top choices",
       [](const Json& v, P& p) { p.sampling.xtc_probability = real(v); }},
      {"xtc_threshold", Use::honoured, with_default(number(0, 0.5), 0.1),
       "Probability from which a token is a top choice for XTC",
       [](const Json& v, P& p) { p.sampling.xtc_threshold = real(v); }},
      {"repetition_penalty", Use::honoured, with_default(number(0, 100), 1.1),
       "Divides the logits of recent tokens; 1 is off",
       [](const Json& v, P& p) { p.sampling.repetition_penalty = real(v); }},
      {"repetition_context_size", Use::honoured, penalty_window, "Number of recent tokens it considers; 0: all",
       [](const Json& v, P& p) { p.sampling.repetition_context_size = whole(v); }},
      {"presence_penalty", Use::honoured, with_default(number(-2, 2), 0),
       "Subtracted once from the logits of recent tokens",
       [](const Json& v, P& p) { p.sampling.presence_penalty = real(v); }},
      {"presence_context_size", Use::honoured, penalty_window, "Number of recent tokens it considers; 0: all",
       [](const Json& v, P& p) { p.sampling.presence_context_size = whole(v); }},
      {"frequency_penalty", Use::honoured, with_default(number(-2, 2), 0),
       "Subtracted from the logits of recent tokens for each occurrence",
       [](const Json& v, P& p) { p.sampling.frequency_penalty = real(v); }},
      {"frequency_context_size", Use::honoured, penalty_window, "Number of recent tokens it considers; 0: all",
       [](const Json& v, P& p) { p.sampling.frequency_context_size = whole(v); }},
      {"dry_multiplier", Use::honoured, with_default(number(0, 100), 0),
       "Strength of the DRY penalty for tokens that continue a repetition; 0 is off",
       [](const Json& v, P& p) { p.sampling.dry_multiplier = real(v); }},
      {"dry_base", Use::honoured, with_default(number(1, 100), 1.75),
       "Growth of the DRY penalty with each repeated token",
       [](const Json& v, P& p) { p.sampling.dry_base = real(v); }},
      {"dry_allowed_length", Use::honoured, with_default(integer(1, 1'000'000), 2),
       "Shorter repetitions are not penalised", [](const Json& v, P& p) { p.sampling.dry_allowed_length = whole(v); }},
      {"dry_penalty_last_n", Use::honoured, with_default(integer(-1, 1'000'000), -1),
       "Number of recent tokens DRY considers; -1: all, 0: none",
       [](const Json& v, P& p) { p.sampling.dry_penalty_last_n = whole(v); }},
      {"dry_sequence_breakers", Use::honoured, with_default(array(text(1, 40), 0, 16), {"\n", ":", "\"", "*"}),
       "Texts that end a repetition",
       [](const Json& v, P& p) { p.dry_sequence_breakers = v.get<std::vector<std::string>>(); }},
      {"logit_bias", Use::honoured,
       with(object(), {{"additionalProperties", number(-100, 100)}, {"maxProperties", 4096}}),
       "Token id → value added to its logit", read_logit_bias},
      {"response_format", Use::honoured, response_format_schema(), "Constrains the answer's text",
       read_response_format},
      {"grammar", Use::honoured, grammar_schema(), "Constrains the answer with a Lark grammar or a regular expression",
       read_grammar},
      {"stream", Use::honoured, with_default(boolean(), false), "Streams the answer as server-sent events",
       [](const Json& v, P& p) { p.stream = v; }},
      {"stream_options", Use::honoured,
       object({{"include_usage", nullable(boolean())},
               {"include_obfuscation", nullable(boolean())},
               {"continuous_usage_stats", nullable(boolean())}}),
       "Only with stream; include_usage adds a last chunk with the usage",
       [](const Json& v, P& p) { p.include_usage = given(v, "include_usage") && v["include_usage"].get<bool>(); }},
      {"deadline_ms", Use::honoured, integer(1, 86'400'000),
       "Time limit of the whole answer; refused early if it cannot be met",
       [](const Json& v, P& p) { p.deadline_ms = v.get<int64_t>(); }},
      {"user", Use::without_effect, text(), "The client's end user"},
  };
}

/// Two names of one value.
void require_equal(const Json& body, const char* name, const char* other) {
  const Json *one = given(body, name), *two = given(body, other);
  if (one && two && *one != *two) refuse_field(name, fmt::format("{} and {} are both given and differ", name, other));
}

template <class Params>
Params read_body(const Json& schema, const std::vector<Field<Params>>& own, const Json& body) {
  check_body(schema, body);
  Params params;
  read_fields<AnswerParams>(answer_fields(), body, params);
  read_fields<AnswerParams>(compat_fields(), body, params);
  read_fields(own, body, params);
  require_equal(body, "max_completion_tokens", "max_tokens");
  require_equal(body, "n_predict", "max_tokens");
  require_equal(body, "repeat_penalty", "repetition_penalty");
  const Json* min_tokens = given(body, "min_tokens");
  if (min_tokens && *min_tokens > 0 && !params.ignore_eos) {
    refuse_field("min_tokens", "min_tokens is only allowed with ignore_eos", "unsupported_value");
  }
  if (given(body, "stream_options") && !params.stream) {
    refuse_field("stream_options", "stream_options is only allowed when stream is true");
  }
  return params;
}

}  // namespace

const std::vector<Field<AnswerParams>>& answer_fields() {
  static const auto fields = make_answer_fields();
  return fields;
}

const Field<AnswerParams>& answer_field(const std::string& name) {
  return *std::find_if(answer_fields().begin(), answer_fields().end(),
                       [&](const auto& field) { return field.name == name; });
}

template <class Params>
Json body_schema(const std::vector<Field<Params>>& own) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
  add_properties(answer_fields(), schema);
  add_properties(compat_fields(), schema);
  add_properties(own, schema);
  return schema;
}

template Json body_schema(const std::vector<Field<ChatParams>>&);
template Json body_schema(const std::vector<Field<CompletionParams>>&);

void check_body(const Json& schema, const Json& body) {
  if (!body.is_object()) refuse_field({}, "the body must be an object");
  const Checked checked = check(schema, body);
  if (checked.violation) {
    refuse_field(checked.violation->path, checked.violation->message, checked.violation->code.c_str());
  }
  if (!checked.unknown.empty()) {
    log::warn(fmt::format("request fields without a meaning here: {}", fmt::join(checked.unknown, ", ")));
  }
}

const Json* given(const Json& body, const char* name) {
  const auto found = body.find(name);
  return found == body.end() || found->is_null() ? nullptr : &*found;
}

void refuse_field(const std::string& param, const std::string& message, const char* code) {
  throw ApiError(ErrorKind::invalid, message, param, code, 400);
}

ChatParams parse_chat(const Json& body) {
  auto params = read_body(chat_schema(), chat_fields(), body);
  finish_chat(body, params);
  return params;
}

CompletionParams parse_completion(const Json& body) {
  auto params = read_body(completion_schema(), completion_fields(), body);
  finish_completion(body, params);
  return params;
}

}  // namespace mlxk
