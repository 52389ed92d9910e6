#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "chat/answer_grammar.h"
#include "chat/tools.h"
#include "json/json.h"
#include "server/openai/body.h"
#include "server/openai/messages.h"
#include "worker/sampling.h"

namespace mlxk {

/// The common parameters of chat and completion requests; every field was checked, and absent ones have the defaults of
/// the original (temperature 0.7, top_p 0.9, repetition_penalty 1.1).
struct AnswerParams {
  std::string model;
  Sampling sampling;  // without dry_breakers, which are the tokenizer's matter:
  std::vector<std::string> dry_sequence_breakers;
  std::optional<int64_t> max_tokens;  // 0: the prompt alone is computed
  int n = 1;
  std::vector<std::string> stops;
  bool stream = false;
  bool include_usage = false;  // stream_options
  int top_logprobs = -1;       // as GenerateRequest
  std::optional<int64_t> deadline_ms;
  AnswerGrammar grammar;
  std::string grammar_field;  // that requested it: response_format, grammar or another
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
};

struct ChatParams : AnswerParams {
  Json messages;  // in the form of templates: tool arguments are objects, developer is system if needed
  Json template_kwargs = Json::object();  // chat_template_kwargs, reasoning_effort
  Json documents;                         // null: none
  ToolOptions tools;
  std::vector<MessageImage> images;
  bool has_audio = false;
  std::optional<bool> image_table;  // the answer begins with a table of the images
};

struct CompletionParams : AnswerParams {
  std::vector<std::variant<std::string, std::vector<int32_t>>> prompts;  // at least one
  bool echo = false;
  bool add_special_tokens = true;  // those that the tokenizer puts around a text
};

/// Honours or refuses every field of the body; throws ApiError 400 naming the field. Unknown fields are named in a
/// warning log.
ChatParams parse_chat(const Json& body);
CompletionParams parse_completion(const Json& body);

}  // namespace mlxk
