#include "policy/policy.h"

#include <fmt/format.h>

namespace mlxk {

namespace {

constexpr int kBadRequest = 400, kInternalError = 500, kNotImplemented = 501, kInsufficientStorage = 507;

/// One engine as the table sees it.
struct Engine {
  Route route;
  std::string_view word;     // "Vision": the word for its models in messages
  const Runnable& runnable;  // Probe's result for the model
  ModelKind kind;
  const BuiltIn& built;
};

Decision block(int status, std::string type, std::string message) {
  return {Decision::Kind::block, Route::none, status, std::move(type), std::move(message)};
}

Decision mismatch(const ModelInfo& model, std::string_view rest) {
  return block(kBadRequest, "capability_mismatch", fmt::format("Model '{}' {}", model.ref.name, rest));
}

double gib(uint64_t bytes) { return static_cast<double>(bytes) / (uint64_t{1} << 30); }

uint64_t model_bytes(const ModelInfo& model) { return model.weight_bytes != 0 ? model.weight_bytes : model.size_bytes; }

/// "…exceeds 70% of system memory…" if it does; empty if it fits or either size is unknown.
std::string over_memory(const ModelInfo& model, const Machine& machine) {
  const uint64_t bytes = model_bytes(model);
  if (fits_memory(bytes, machine)) return {};
  return fmt::format("Model size ({:.1f} GB) exceeds 70% of {} memory ({:.1f} GB).", gib(bytes), machine.device,
                     gib(machine.memory_bytes));
}

/// The last rows: it runs, with a warning if little memory is free now.
Decision allow(const ModelInfo& model, const Machine& machine, Route route) {
  Decision decision;
  decision.route = route;
  if (machine.free_bytes != 0 && model_bytes(model) > machine.free_bytes) {
    decision.kind = Decision::Kind::warn;
    decision.message = fmt::format("Model size ({:.1f} GB) exceeds the {} memory that is free now ({:.1f} GB).",
                                   gib(model_bytes(model)), machine.device, gib(machine.free_bytes));
  }
  return decision;
}

/// Rows 0b, 1c, 2 and 3: the architecture is built in, and Probe found no problem.
std::optional<Decision> not_runnable(const ModelInfo& model, const Engine& engine) {
  if (!model.model_type.empty() && !engine.built.has(engine.kind, model.model_type)) {
    return block(kNotImplemented, "missing_dependency",
                 fmt::format("{} model type '{}' of '{}' {}.", engine.word, model.model_type, model.ref.name,
                             engine.built.refusal(engine.kind, model.model_type)));
  }
  if (!engine.runnable.ok) {
    return block(model.healthy ? kNotImplemented : kInternalError, "runtime_incompatible",
                 fmt::format("Model '{}' is not compatible: {}", model.ref.name, engine.runnable.reason));
  }
  return std::nullopt;
}

const char* what_it_is(EncoderTask task) {
  switch (task) {
    case EncoderTask::rerank: return "is a reranker";
    case EncoderTask::classify: return "is a classifier";
    default: return "is an embedding model";
  }
}

/// The command or endpoint for such a model.
const char* where_to(EncoderTask task, Context context) {
  const bool cli = context == Context::cli;
  switch (task) {
    case EncoderTask::rerank: return cli ? "`mlxk rerank`" : "/v1/rerank";
    case EncoderTask::classify: return cli ? "`mlxk serve` and /v1/classify" : "/v1/classify";
    default: return cli ? "`mlxk embed`" : "/v1/embeddings";
  }
}

/// A reranker's score is a classifier's with one label, and a masked language model's labels are tokens; no other kind
/// can replace another.
bool can_give(const ModelInfo& model, EncoderTask asked) {
  const bool classifies = model.encoder_task == EncoderTask::rerank || model.fills_masks;
  return model.encoder_task == asked || (classifies && asked == EncoderTask::classify);
}

/// Vision, speech and embeddings: a model that does not fit well is refused.
Decision decide_media(const ModelInfo& model, const Machine& machine, const Engine& engine, std::string_view why) {
  if (auto refused = not_runnable(model, engine)) return *refused;
  if (const std::string over = over_memory(model, machine); !over.empty()) {
    return block(kInsufficientStorage, "insufficient_memory", fmt::format("{} {} models {}", over, engine.word, why));
  }
  return allow(model, machine, engine.route);
}

/// Vectors or scores of texts.
Decision decide_encoding(const ModelInfo& model, const Machine& machine, const RequestFacts& request,
                         const Engine& engine) {
  if (!model.is_embedding) {
    const char* lacks = request.encodes == EncoderTask::embed    ? "is not an embedding model"
                        : request.encodes == EncoderTask::rerank ? "is not a reranker"
                                                                 : "is not a classifier";
    return mismatch(
        model, fmt::format("{} ({}).", lacks,
                           model.audio_backend == AudioBackend::stt ? "it is a speech model" : "it generates text"));
  }
  if (!can_give(model, request.encodes)) {
    return mismatch(model, fmt::format("{}. Use {}.", what_it_is(model.encoder_task),
                                       where_to(model.encoder_task, request.context)));
  }
  return decide_media(model, machine, engine, "need the rest for their activations.");
}

/// A text prompt alone: the text engine or nothing, also for a model that accepts images or audio.
Decision decide_text(const ModelInfo& model, const Machine& machine, Context context, const Engine& engine) {
  if (model.is_embedding) {
    return mismatch(model, fmt::format("{} and generates no text. Use {}.", what_it_is(model.encoder_task),
                                       where_to(model.encoder_task, context)));
  }
  if (model.audio_backend == AudioBackend::stt) {
    return mismatch(model, context == Context::cli
                               ? "is audio-only (STT). Use `--audio FILE` for transcription."
                               : "is audio-only (STT). Use /v1/audio/transcriptions for transcription.");
  }
  if (auto refused = not_runnable(model, engine)) return *refused;
  if (model.needs_image) {
    return mismatch(model, context == Context::cli ? "needs an image. Use `--image FILE`."
                                                   : "needs an image. Add an `image_url` part to a message.");
  }
  Decision decision = allow(model, machine, engine.route);
  if (const std::string over = over_memory(model, machine); !over.empty()) {
    decision.kind = Decision::Kind::warn;
    decision.message = over + " Expect extreme slowness due to swapping.";
  }
  return decision;
}

}  // namespace

bool fits_memory(uint64_t bytes, const Machine& machine) {
  return machine.memory_bytes == 0 || bytes <= machine.memory_bytes / 10 * 7;
}

Decision decide(const ModelInfo& model, const Machine& machine, const RequestFacts& request, const BuiltIn& built) {
  const Engine text{Route::text, "Text", model.text, ModelKind::text, built};
  const Engine vision{Route::vision, "Vision", model.vision, ModelKind::vision, built};
  const Engine hearing{Route::vision, "Audio", model.audio, ModelKind::audio, built};
  const Engine speech{Route::speech, "Speech", model.audio, ModelKind::speech, built};
  const Engine embedding{Route::embedding, "Embedding", model.embedding, ModelKind::embedding, built};
  const bool images = request.has_images, audio = request.has_audio;
  if (request.encodes != EncoderTask::none) return decide_encoding(model, machine, request, embedding);

  // 0a–0d. Audio is never dropped silently, not even beside images.
  if (audio && !model.is_audio) return mismatch(model, "does not support audio inputs (no audio capability detected)");
  if (audio && !images && model.audio_backend == AudioBackend::stt) {
    return decide_media(model, machine, speech, "abort above that: the audio encoder needs the rest.");
  }
  if (audio && model.audio_backend != AudioBackend::stt && model.audio_backend != AudioBackend::multimodal) {
    return block(kNotImplemented, "unknown_audio_backend",
                 fmt::format("Unknown audio model type for '{}'", model.ref.name));
  }
  // 1a–1e, only if the request has media.
  if (images && !model.is_vision)
    return mismatch(model, "does not support vision inputs (no vision capability detected)");
  if (images && audio && model.audio_backend == AudioBackend::stt) {
    return mismatch(model, "does not support images and audio in one request");
  }
  if (audio) {
    const auto refused = not_runnable(model, hearing);
    if (refused || !images) {
      return refused ? *refused : decide_media(model, machine, hearing, "need the rest for their audio encoder.");
    }
  }
  if (images) {
    return decide_media(model, machine, vision, "crash with out-of-memory errors due to Vision Encoder overhead.");
  }
  // 2–5.
  return decide_text(model, machine, request.context, text);
}

}  // namespace mlxk
