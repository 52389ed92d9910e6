#include <fmt/format.h>

#include <limits>

#include "server/openai/fields.h"

namespace mlxk {
namespace {

using namespace schema;
using Use = FieldUse;

constexpr size_t kMaxIds = 2'000'000;
constexpr size_t kMaxPrompts = 512;  // as many as may wait, by default

Json prompt_schema() {
  const Json id = integer(0, std::numeric_limits<int32_t>::max());
  return any_of(
      {text(), array(text(), 1, kMaxPrompts), array(id, 1, kMaxIds), array(array(id, 1, kMaxIds), 1, kMaxPrompts)});
}

void read_prompt(const Json& value, CompletionParams& params) {
  const auto add = [&](const Json& one) {
    if (one.is_string()) {
      params.prompts.emplace_back(one.get<std::string>());
    } else {
      params.prompts.emplace_back(one.get<std::vector<int32_t>>());
    }
  };
  if (value.is_string() || value.front().is_number()) return add(value);
  for (const Json& one : value) add(one);
}

std::vector<Field<CompletionParams>> make_completion_fields() {
  using P = CompletionParams;
  return {
      {"prompt", Use::honoured, prompt_schema(), "A text, token ids, or several of either; without a chat template",
       read_prompt, true},
      {"echo", Use::honoured, with(boolean(), {{"default", false}}), "The answer begins with the prompt",
       [](const Json& v, P& p) { p.echo = v; }},
      {"logprobs", Use::honoured, integer(0, 20), "Log-probabilities of the tokens and of this many alternatives",
       [](const Json& v, P& p) { p.top_logprobs = v.get<int>(); }},
      {"best_of", Use::honoured, integer(0, kMaxAnswers), "Only 0, 1 or n: the server does not choose among answers"},
      {"add_special_tokens", Use::honoured, with(boolean(), {{"default", true}}),
       "Adds the special tokens that the tokenizer puts around a text",
       [](const Json& v, P& p) { p.add_special_tokens = v; }},
      {"suffix", Use::refused, unsupported("write the model's infilling tokens into the prompt", Json::array({""})),
       "Write the model's infilling tokens into the prompt"},
  };
}

}  // namespace

const std::vector<Field<CompletionParams>>& completion_fields() {
  static const auto fields = make_completion_fields();
  return fields;
}

const Json& completion_schema() {
  static const Json schema = body_schema(completion_fields());
  return schema;
}

void finish_completion(const Json& body, CompletionParams& params) {
  const Json* best_of = given(body, "best_of");
  if (best_of && *best_of > 1 && *best_of != params.n) {
    refuse_field("best_of", fmt::format("best_of must be 0, 1 or n, got {}", best_of->dump()), "unsupported_value");
  }
  const size_t answers = params.prompts.size() * static_cast<size_t>(params.n);
  if (answers > kMaxPrompts) {
    refuse_field("prompt", fmt::format("prompts times n must be at most {}, got {}", kMaxPrompts, answers));
  }
}

}  // namespace mlxk
