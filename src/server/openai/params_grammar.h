#pragma once

#include "json/json_fwd.h"
#include "server/openai/params.h"

namespace mlxk {

// The fields that constrain an answer's text: OpenAI's response_format, ours (grammar), llama.cpp's (json_schema) and
// vLLM's (structured_outputs, guided_*). An answer has one constraint; a second one, or a source that is too long, is
// an ApiError 400.

Json response_format_schema();
Json grammar_schema();
Json structured_outputs_schema();
Json guided_json_schema();
Json choices_schema();

void read_response_format(const Json& value, AnswerParams& params);
void read_grammar(const Json& value, AnswerParams& params);
void read_json_schema(const Json& value, AnswerParams& params);
void read_structured_outputs(const Json& value, AnswerParams& params);
void read_guided_json(const Json& value, AnswerParams& params);
void read_guided_regex(const Json& value, AnswerParams& params);
void read_guided_choice(const Json& value, AnswerParams& params);

}  // namespace mlxk
