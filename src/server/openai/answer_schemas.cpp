#include "server/openai/answer_schemas.h"

#include <vector>

#include "server/openai/schema.h"

namespace mlxk {
namespace {

using namespace schema;

Json string() { return text(); }
Json count() { return {{"type", "integer"}, {"minimum", 0}}; }
Json real() { return {{"type", "number"}}; }
Json list(Json items) { return {{"type", "array"}, {"items", std::move(items)}}; }
Json constant(const char* value) { return {{"type", "string"}, {"const", value}}; }

/// An object that has all of `required`, may have `optional`, and nothing else.
Json exactly(Json required, const Json& optional = Json::object()) {
  Json names = Json::array();
  for (const auto& [name, schema] : required.items()) names.push_back(name);
  required.update(optional);
  return {{"type", "object"},
          {"properties", std::move(required)},
          {"required", std::move(names)},
          {"additionalProperties", false}};
}

Json or_null(Json schema) { return any_of({std::move(schema), {{"type", "null"}}}); }

Json finish_reason(std::initializer_list<std::string_view> reasons) { return one_of(reasons); }

Json token_score(bool with_top) {
  Json required = {{"token", string()},
                   {"logprob", with(real(), {{"description", "-9999.0 for a token that cannot come"}})},
                   {"bytes", list({{"type", "integer"}, {"minimum", 0}, {"maximum", 255}})}};
  if (with_top) required["top_logprobs"] = list(token_score(false));
  return exactly(std::move(required));
}

Json chat_logprobs() {
  return or_null(exactly({{"content", list(token_score(true))}, {"refusal", {{"type", "null"}}}}));
}

Json completion_logprobs() {
  const Json scores = {{"type", "object"}, {"additionalProperties", real()}};
  return or_null(exactly({{"tokens", list(string())},
                          {"token_logprobs", list(or_null(real()))},
                          {"top_logprobs", list(or_null(scores))},
                          {"text_offset", list(count())}}));
}

/// The common first fields of an answer and its chunks.
Json answer(const char* object, Json choice, Json usage, bool usage_always) {
  Json required = {{"id", string()},
                   {"object", constant(object)},
                   {"created", count()},
                   {"model", string()},
                   {"choices", list(std::move(choice))}};
  if (usage_always) {
    required["usage"] = std::move(usage);
    return exactly(std::move(required));
  }
  return exactly(std::move(required), {{"usage", or_null(std::move(usage))}});
}

Json chat_completion() {
  const Json call = exactly({{"id", string()},
                             {"type", constant("function")},
                             {"function", exactly({{"name", string()}, {"arguments", string()}})}});
  const Json message =
      exactly({{"role", constant("assistant")}, {"content", nullable(string())}, {"refusal", {{"type", "null"}}}},
              {{"reasoning_content", string()}, {"tool_calls", list(call)}});
  return answer("chat.completion",
                exactly({{"index", count()},
                         {"message", message},
                         {"logprobs", chat_logprobs()},
                         {"finish_reason", finish_reason({"stop", "length", "tool_calls"})}}),
                schema_ref("Usage"), true);
}

Json chat_chunk() {
  const Json call =
      exactly({{"index", count()}, {"function", exactly({{"arguments", string()}}, {{"name", string()}})}},
              {{"id", string()}, {"type", constant("function")}});
  const Json delta = exactly(Json::object(), {{"role", constant("assistant")},
                                              {"content", string()},
                                              {"reasoning_content", string()},
                                              {"tool_calls", list(call)}});
  return answer("chat.completion.chunk",
                exactly({{"index", count()},
                         {"delta", delta},
                         {"logprobs", chat_logprobs()},
                         {"finish_reason", nullable(finish_reason({"stop", "length", "tool_calls"}))}}),
                schema_ref("Usage"), false);
}

Json completion(bool chunk) {
  const Json reason = finish_reason({"stop", "length"});
  return answer("text_completion",
                exactly({{"index", count()},
                         {"text", string()},
                         {"logprobs", completion_logprobs()},
                         {"finish_reason", chunk ? nullable(reason) : reason}}),
                schema_ref("Usage"), !chunk);
}

Json model() {
  const Json verdict = with(exactly({{"passed", count()},
                                     {"failed", list(string())},
                                     {"skipped", count()},
                                     {"build", string()},
                                     {"device", string()},
                                     {"quick", boolean()},
                                     {"tested_at", string()},
                                     {"tokens_per_s", real()}}),
                            {{"description", "What `mlxk selftest` found on this machine"}});
  const Json speech = with(exactly({{"languages", nullable(list(string()))},
                                    {"segment_times", boolean()},
                                    {"word_times", boolean()},
                                    {"translation", boolean()},
                                    {"diarization", boolean()}}),
                           {{"description", "What it can do with speech; null: it transcribes nothing"}});
  return exactly({{"id", string()},
                  {"object", constant("model")},
                  {"created", with(count(), {{"description", "When it came to this disk; 0: unknown"}})},
                  {"owned_by", one_of({"mlx-knife-2.0", "workspace"})},
                  {"permission", list(Json::object())},
                  {"context_length", nullable(integer(1, INT64_MAX))},
                  {"model_type", string()},
                  {"capabilities", list(string())},
                  {"tools", one_of({"native", "generic", "none"})},
                  {"speech", nullable(speech)},
                  {"quantization", nullable(object())},
                  {"size_bytes", with(count(), {{"description", "Of all its files"}})},
                  {"weight_bytes", count()},
                  {"loaded", boolean()},
                  {"pinned", boolean()},
                  {"selftest", nullable(verdict)}});
}

/// A segment of diarized_json, and of a stream.
Json spoken_segment() {
  return exactly({{"type", constant("transcript.text.segment")},
                  {"id", string()},
                  {"start", real()},
                  {"end", real()},
                  {"text", string()},
                  {"speaker", with(string(), {{"description", "Empty: who speaks is not known"}})}});
}

/// {"text"}; with verbose_json and diarized_json all of it.
Json transcription() {
  const Json seconds = real();
  const Json usage = exactly({{"type", constant("duration")}, {"seconds", count()}});
  const Json word = exactly({{"word", string()}, {"start", seconds}, {"end", seconds}});
  const Json doubt = with(one_of({"repeats", "guess"}), {{"description", "No better at the last temperature"}});
  const Json segment = exactly({{"id", count()},
                                {"seek", count()},
                                {"start", seconds},
                                {"end", seconds},
                                {"text", string()},
                                {"tokens", list(count())},
                                {"temperature", real()},
                                {"avg_logprob", real()},
                                {"compression_ratio", real()},
                                {"no_speech_prob", real()}},
                               {{"doubt", doubt}, {"speaker", string()}});
  return exactly({{"text", string()}, {"usage", usage}}, {{"task", one_of({"transcribe", "translate"})},
                                                          {"language", string()},
                                                          {"duration", seconds},
                                                          {"words", list(word)},
                                                          {"segments", list(any_of({segment, spoken_segment()}))}});
}

/// An event of a streamed transcript.
Json transcription_event() {
  const Json details = exactly({{"audio_tokens", count()}, {"text_tokens", count()}});
  const Json usage = exactly({{"type", constant("tokens")},
                              {"input_tokens", count()},
                              {"input_token_details", details},
                              {"output_tokens", count()},
                              {"total_tokens", count()}});
  return any_of({
      exactly({{"type", constant("transcript.text.delta")}, {"delta", string()}}, {{"segment_id", string()}}),
      spoken_segment(),
      exactly({{"type", constant("transcript.text.done")}, {"text", string()}, {"usage", usage}}),
  });
}

Json token_usage() { return exactly({{"prompt_tokens", count()}, {"total_tokens", count()}}); }

Json embedding_list() {
  const Json base64 = with(string(), {{"description", "Of little-endian float32"}});
  const Json numbers = any_of({list(real()), base64});
  const Json sparse = exactly({{"indices", list(count())}, {"values", list(real())}});
  const Json one =
      exactly({{"object", constant("embedding")},
               {"index", count()},
               {"embedding", with(numbers, {{"description", "Empty if not requested or the model has none"}})}},
              {{"sparse_embedding", sparse}, {"embeddings", list(numbers)}});
  return exactly({{"object", constant("list")}, {"data", list(one)}, {"model", string()}, {"usage", token_usage()}});
}

/// An object for documents, a list for texts.
Json ranking() {
  const Json result =
      exactly({{"index", count()}, {"relevance_score", real()}}, {{"document", exactly({{"text", string()}})}});
  const Json meta = exactly({{"api_version", exactly({{"version", string()}})},
                             {"billed_units", exactly({{"search_units", count()}})},
                             {"tokens", exactly({{"input_tokens", count()}, {"output_tokens", count()}})}});
  return any_of({exactly({{"id", string()},
                          {"object", constant("list")},
                          {"model", string()},
                          {"results", list(result)},
                          {"usage", token_usage()},
                          {"meta", meta}}),
                 list(exactly({{"index", count()}, {"score", real()}}, {{"text", string()}}))});
}

Json classification() {
  const Json one = exactly({{"index", count()},
                            {"label", string()},
                            {"probs", list(real())},
                            {"num_classes", count()},
                            {"scores", list(exactly({{"label", string()}, {"score", real()}},
                                                    {{"token", count()}, {"sequence", string()}}))}});
  return exactly({{"id", string()},
                  {"object", constant("list")},
                  {"created", count()},
                  {"model", string()},
                  {"data", list(one)},
                  {"usage", token_usage()}});
}

Json error() {
  const Json what = exactly({{"message", string()},
                             {"type", with(string(), {{"description", "The status as a word: validation_error, …"}})},
                             {"param", nullable(string())},
                             {"code", nullable(string())}},
                            {{"detail", string()}, {"retryable", boolean()}});
  return exactly({{"status", constant("error")}, {"error", what}, {"request_id", string()}});
}

}  // namespace

Json schema_ref(const char* name) { return {{"$ref", std::string("#/components/schemas/") + name}}; }

Json answer_schemas() {
  const Json token = any_of({count(), exactly({{"id", count()}, {"piece", string()}})});
  return {
      {"ChatCompletion", chat_completion()},
      {"ChatCompletionChunk", chat_chunk()},
      {"Completion", completion(false)},
      {"CompletionChunk", completion(true)},
      {"Usage", exactly({{"prompt_tokens", count()},
                         {"completion_tokens", count()},
                         {"total_tokens", count()},
                         {"prompt_tokens_details",
                          exactly({{"cached_tokens", count()}},
                                  {{"image_tokens", count()}, {"cached_images", count()}, {"audio_tokens", count()}})},
                         {"completion_tokens_details", exactly({{"reasoning_tokens", count()}})}})},
      {"Model", model()},
      {"ModelList", exactly({{"object", constant("list")}, {"data", list(schema_ref("Model"))}})},
      {"Tokens", exactly({{"tokens", list(token)}})},
      {"Text", exactly({{"content", string()}})},
      {"Estimate", exactly({{"model", string()},
                            {"prompt_tokens", count()},
                            {"image_tokens", count()},
                            {"audio_tokens", count()},
                            {"max_tokens", count()},
                            {"context_length", count()}})},
      {"Prompt", exactly({{"prompt", string()}, {"tokens", list(count())}})},
      {"Version", exactly({{"version", string()}, {"service", string()}})},
      {"Health", object({{"status", string()}}, {"status"})},
      {"Transcription", transcription()},
      {"TranscriptionEvent", transcription_event()},
      {"EmbeddingList", embedding_list()},
      {"Vectors", list(list(real()))},
      {"SparseVectors", list(list(exactly({{"index", count()}, {"value", real()}})))},
      {"Ranking", ranking()},
      {"Classification", classification()},
      {"Error", error()},
  };
}

}  // namespace mlxk
