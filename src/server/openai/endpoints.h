#pragma once

#include <memory>

#include "server/context.h"
#include "server/upload_form.h"

namespace mlxk {

// The handlers of the routes (server/routes.cpp), on a preparation thread. Their exceptions become the error envelope.

/// POST /v1/chat/completions and /v1/completions: answer `call.exchange` themselves, whole or streamed.
void chat_completions(ServerContext& context, ApiCall call);
void completions(ServerContext& context, ApiCall call);

/// POST /v1/embeddings, /embed, /embed_sparse, /rerank (and its other names) and /v1/classify: answer `call.exchange`
/// themselves.
void embeddings(ServerContext& context, ApiCall call);
void tei_embed(ServerContext& context, ApiCall call);
void tei_embed_sparse(ServerContext& context, ApiCall call);
void rerank(ServerContext& context, ApiCall call);
void classify_texts(ServerContext& context, ApiCall call);

/// POST /v1/audio/transcriptions and /v1/audio/translations: the form is there; they answer `call.exchange` themselves.
void transcriptions(ServerContext& context, ApiCall call, std::shared_ptr<UploadForm> form);
void translations(ServerContext& context, ApiCall call, std::shared_ptr<UploadForm> form);

/// GET /v1/realtime?intent=transcription: opens the WebSocket, on the I/O thread.
void realtime(ServerContext& context, ApiCall call);

/// GET /v1/models, GET /v1/models/{id} (ApiCall::name), POST /v1/models/load and /v1/models/unload.
HttpResponse list_models(ServerContext& context, const ApiCall& call);
HttpResponse show_model(ServerContext& context, const ApiCall& call);
HttpResponse load_model(ServerContext& context, const ApiCall& call);
HttpResponse unload_model(ServerContext& context, const ApiCall& call);

/// POST /v1/estimate: the tokens of a chat request, images included, without an answer.
void estimate(ServerContext& context, ApiCall call);
/// POST /tokenize, /detokenize, /apply-template.
HttpResponse tokenize(ServerContext& context, const ApiCall& call);
HttpResponse detokenize(ServerContext& context, const ApiCall& call);
HttpResponse apply_template(ServerContext& context, const ApiCall& call);

/// GET / (a line for a person with a browser), GET /version, GET /openapi.json.
HttpResponse show_welcome(ServerContext& context, const ApiCall& call);
HttpResponse show_version(ServerContext& context, const ApiCall& call);
HttpResponse show_openapi(ServerContext& context, const ApiCall& call);

}  // namespace mlxk
