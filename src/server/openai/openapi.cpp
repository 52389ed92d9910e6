// GET /, GET /openapi.json, GET /version
#include <initializer_list>
#include <string>

#include "server/openai/answer_schemas.h"
#include "server/openai/audio_params.h"
#include "server/openai/documents.h"
#include "server/openai/embedding_params.h"
#include "server/openai/endpoints.h"
#include "server/openai/fields.h"
#include "server/openai/score_params.h"

namespace mlxk {
namespace {

/// An endpoint as the document shows it.
struct Operation {
  const char* method;
  const char* path;
  const char* id;
  const char* summary;
  const char* request = nullptr;           // the body's schema
  const char* answer = nullptr;            // of 200; null: none, see unbuilt and text
  const char* chunk = nullptr;             // of a streamed answer
  std::initializer_list<int> errors = {};  // beyond those of every endpoint
};

constexpr const char* kText = "text/plain";

constexpr const char* kRanking = "Documents by how well they answer a query";

const Operation kOperations[] = {
    {"post",
     "/v1/chat/completions",
     "createChatCompletion",
     "Answers a conversation",
     "ChatCompletionRequest",
     "ChatCompletion",
     "ChatCompletionChunk",
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/v1/completions",
     "createCompletion",
     "Continues prompts",
     "CompletionRequest",
     "Completion",
     "CompletionChunk",
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"get", "/v1/models", "listModels", "The models that can be asked for; the pinned one first", nullptr, "ModelList"},
    {"get",
     "/v1/models/{id}",
     "retrieveModel",
     "One model; its id may hold slashes",
     nullptr,
     "Model",
     nullptr,
     {400, 404}},
    {"post",
     "/v1/models/load",
     "loadModel",
     "Loads a model (scope admin)",
     "ModelName",
     "Model",
     nullptr,
     {400, 404, 413, 415, 501, 503, 507}},
    {"post",
     "/v1/models/unload",
     "unloadModel",
     "Unloads a model once its requests have ended (scope admin)",
     "ModelName",
     "Model",
     nullptr,
     {400, 404, 413, 415}},
    {"post",
     "/v1/estimate",
     "estimate",
     "The tokens of a chat request, images included, without an answer",
     "ChatCompletionRequest",
     "Estimate",
     nullptr,
     {400, 404, 413, 415, 501, 503, 507}},
    {"post",
     "/tokenize",
     "tokenize",
     "A text's token ids",
     "TokenizeRequest",
     "Tokens",
     nullptr,
     {400, 404, 413, 415, 501, 503, 507}},
    {"post",
     "/detokenize",
     "detokenize",
     "The text of token ids",
     "DetokenizeRequest",
     "Text",
     nullptr,
     {400, 404, 413, 415, 501, 503, 507}},
    {"post",
     "/apply-template",
     "applyTemplate",
     "The prompt that a model's chat template makes of messages",
     "ApplyTemplateRequest",
     "Prompt",
     nullptr,
     {400, 404, 413, 415, 501, 503, 507}},
    {"get", "/", "welcome", "What this is, as a line of text", nullptr, kText},
    {"get", "/health", "health", "Whether the generation loop lives", nullptr, "Health", nullptr, {503}},
    {"get", "/ready", "ready", "Whether requests are taken", nullptr, "Health", nullptr, {503}},
    {"get", "/metrics", "metrics", "Counters in Prometheus' text format", nullptr, kText},
    {"get", "/version", "version", "The program's version", nullptr, "Version"},
    {"get", "/openapi.json", "openapi", "This document", nullptr, "Document"},
    {"post",
     "/v1/embeddings",
     "createEmbedding",
     "A vector for each text",
     "EmbeddingRequest",
     "EmbeddingList",
     nullptr,
     {400, 404, 413, 415, 429, 501, 502, 503, 504, 507}},
    {"post",
     "/embed",
     "embed",
     "The same in the form of text-embeddings-inference",
     "EmbedRequest",
     "Vectors",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/embed_sparse",
     "embedSparse",
     "A sparse vector for each text, in the form of text-embeddings-inference",
     "EmbedSparseRequest",
     "SparseVectors",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/rerank",
     "rerank",
     kRanking,
     "RerankRequest",
     "Ranking",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/v1/rerank",
     "rerankV1",
     kRanking,
     "RerankRequest",
     "Ranking",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/v2/rerank",
     "rerankV2",
     kRanking,
     "RerankRequest",
     "Ranking",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/reranking",
     "reranking",
     kRanking,
     "RerankRequest",
     "Ranking",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/v1/classify",
     "classify",
     "The labels of texts, with their scores",
     "ClassifyRequest",
     "Classification",
     nullptr,
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/v1/audio/transcriptions",
     "createTranscription",
     "What is said in a recording",
     "AudioForm",
     "Transcription",
     "TranscriptionEvent",
     {400, 404, 413, 415, 429, 501, 503, 504, 507}},
    {"post",
     "/v1/audio/translations",
     "createTranslation",
     "The same in English",
     "AudioForm",
     "Transcription",
     "TranscriptionEvent",
     {400, 404, 413, 415, 422, 429, 501, 503, 504, 507}},
    {"get",
     "/v1/realtime",
     "transcribeLive",
     "A WebSocket (intent=transcription): sound in, OpenAI's realtime transcription events out",
     nullptr,
     nullptr,
     nullptr,
     {101, 400, 426, 429, 503}},
    {"post", "/v1/audio/speech", "createSpeech", "Not built in", nullptr, nullptr, nullptr, {501}},
    {"post", "/v1/images/generations", "createImage", "Not built in", nullptr, nullptr, nullptr, {501}},
    {"post", "/v1/images/edits", "createImageEdit", "Not built in", nullptr, nullptr, nullptr, {501}},
    {"post", "/v1/images/variations", "createImageVariation", "Not built in", nullptr, nullptr, nullptr, {501}},
};

struct Status {
  int status;
  const char* meaning;
};
constexpr Status kStatuses[] = {
    {101, "The WebSocket is open"},
    {400, "A field is wrong; param names it"},
    {401, "No valid API key"},
    {403, "The key's scope, Host or Origin do not allow it"},
    {404, "No such model"},
    {413, "The body is too large"},
    {415, "The body is not application/json, or not a form; a codec that is not built in"},
    {422, "The model does not translate"},
    {426, "The request opens no WebSocket"},
    {429, "The waiting line is full; see Retry-After"},
    {500, "A defect of the server"},
    {501, "Not built in"},
    {502, "The server behind --embed-backend cannot be reached"},
    {503, "Shutting down, or no room now; see Retry-After"},
    {504, "deadline_ms passed or cannot be met"},
    {507, "The model does not fit into memory"},
};

Json content(const char* type, Json schema) { return {{type, {{"schema", std::move(schema)}}}}; }

bool is_form(const Operation& operation) {
  return operation.request && operation.request == std::string_view("AudioForm");
}

Json success(const Operation& operation) {
  Json answer = {{"description", "Done"}};
  if (operation.answer == kText) {
    answer["content"] = content(kText, schema::text());
  } else {
    answer["content"] = content("application/json", schema_ref(operation.answer));
  }
  if (operation.chunk) {
    answer["content"].update(content("text/event-stream", schema_ref(operation.chunk)));
    answer["description"] = "The answer; with stream each event's data is one chunk, the last one [DONE]";
  }
  if (is_form(operation)) answer["content"].update(content(kText, schema::text()));  // response_format text, srt, …
  return answer;
}

Json operation_object(const Operation& operation) {
  Json object = {{"operationId", operation.id}, {"summary", operation.summary}};
  if (std::string_view(operation.path).find("{id}") != std::string_view::npos) {
    object["parameters"] =
        Json::array({{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", schema::text(1)}}});
  }
  if (operation.request) {
    const char* type = is_form(operation) ? "multipart/form-data" : "application/json";
    object["requestBody"] = {{"required", true}, {"content", content(type, schema_ref(operation.request))}};
  }
  Json& responses = object["responses"] = Json::object();
  if (operation.answer) responses["200"] = success(operation);
  for (const Status& one : kStatuses) {
    bool given = one.status == 401 || one.status == 403 || one.status == 500;
    for (const int status : operation.errors) given = given || status == one.status;
    if (!given) continue;
    responses[std::to_string(one.status)] = {{"description", one.meaning},
                                             {"content", content("application/json", schema_ref("Error"))}};
  }
  return object;
}

Json make_document() {
  Json schemas = {
      {"ChatCompletionRequest", chat_schema()},
      {"CompletionRequest", completion_schema()},
      {"ModelName", model_name_schema()},
      {"TokenizeRequest", tokenize_schema()},
      {"DetokenizeRequest", detokenize_schema()},
      {"ApplyTemplateRequest", apply_template_schema()},
      {"AudioForm", audio_schema()},
      {"EmbeddingRequest", embedding_schema()},
      {"EmbedRequest", tei_embed_schema()},
      {"EmbedSparseRequest", tei_sparse_schema()},
      {"RerankRequest", rerank_schema()},
      {"ClassifyRequest", classify_schema()},
  };
  schemas.update(answer_schemas());
  schemas["Document"] = schema::object();
  Json paths = Json::object();
  for (const Operation& operation : kOperations) paths[operation.path][operation.method] = operation_object(operation);
  return {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "MLX Knife"},
        {"version", MLXK_VERSION},
        {"description", "Language models behind OpenAI's API. What is not named here is refused or answered by 404."},
        {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
      {"servers", Json::array({{{"url", "/"}}})},
      {"security", Json::array({Json::object(), {{"bearer", Json::array()}}})},
      {"paths", std::move(paths)},
      {"components",
       {{"securitySchemes", {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}}, {"schemas", std::move(schemas)}}},
  };
}

}  // namespace

HttpResponse json_answer(const Json& document) {
  HttpResponse response;
  response.body = document.dump(-1, ' ', false, Json::error_handler_t::replace);
  return response;
}

const Json& openapi_document() {
  static const Json document = make_document();
  return document;
}

HttpResponse show_welcome(ServerContext& /*context*/, const ApiCall& /*call*/) {
  HttpResponse response;
  response.content_type = "text/plain; charset=utf-8";
  response.body = "mlxk " MLXK_VERSION ": an OpenAI API at /v1, described by /openapi.json\n";
  return response;
}

HttpResponse show_version(ServerContext& /*context*/, const ApiCall& /*call*/) {
  return json_answer({{"version", MLXK_VERSION}, {"service", "mlx-knife-server-2.0"}});
}

HttpResponse show_openapi(ServerContext& /*context*/, const ApiCall& /*call*/) {
  return json_answer(openapi_document());
}

}  // namespace mlxk
