#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "base/model_kind.h"
#include "worker/convert_options.h"
#include "worker/event.h"
#include "worker/facts.h"
#include "worker/load_options.h"

namespace mlxk {

struct EmbedRequest;
struct GenerateRequest;
struct SpeechRequest;

/// A running request, stepped by its model; the destructor ends it. Every call on the worker thread.
class Sequence {
 public:
  virtual ~Sequence() = default;
  /// The last event of a request that was cancelled between two steps.
  virtual DoneEvent cancelled() const = 0;
};

/// Takes an event of the sequence at `index` of the stepped ones; must not throw.
using StepSink = std::function<void(size_t index, const Event& event)>;

/// A loaded model of any kind, as the worker's loop steps its requests between those of other models. Every call, the
/// destructor too, on the worker thread.
class EngineModel {
 public:
  virtual ~EngineModel() = default;
  virtual const ModelFacts& facts() const = 0;
  /// The most bytes of keys and values that a request of `tokens` (prompt and answer) needs.
  virtual uint64_t kv_bytes(int64_t /*tokens*/) const { return 0; }
  virtual CacheFacts cache_facts() const { return {}; }
  /// Advances `running`, sequences of this model that have not ended: one or several tokens for each that decodes, a
  /// part of the prompt for one of the others. Events reach `sink` as soon as they are known; Done, or a Failed of one
  /// request alone, is the last event of a sequence, which is not stepped again. An exception fails every request on
  /// the model.
  virtual void step(std::span<Sequence* const> running, const StepSink& sink) = 0;
};

/// A loaded text model.
class TextModel : public EngineModel {
 public:
  /// Throws invalid naming the field (ids, lengths); called when a request arrives, before it waits.
  virtual void check(const GenerateRequest& /*request*/) const {}
  /// The number of prompt tokens that a cache would supply if the request began now.
  virtual int64_t cached_tokens(const GenerateRequest& /*request*/) const { return 0; }
  /// The most bytes that the request's images and recordings need in addition to kv_bytes. Throws invalid for one that
  /// the model does not accept.
  virtual uint64_t media_bytes(const GenerateRequest& /*request*/) const { return 0; }
  /// Checks `request` and makes its caches; throws invalid naming the field.
  virtual std::unique_ptr<Sequence> start(GenerateRequest request) = 0;
};

/// A loaded speech model: a request is one window of sound.
class SpeechModel : public EngineModel {
 public:
  /// Throws invalid naming the field.
  virtual void check(const SpeechRequest& request) const = 0;
  int64_t cached_tokens(const SpeechRequest& /*request*/) const { return 0; }
  uint64_t media_bytes(const SpeechRequest& /*request*/) const { return 0; }
  virtual std::unique_ptr<Sequence> start(SpeechRequest request) = 0;
};

/// A loaded embedding model, reranker or classifier: a request is a list of texts.
class EmbeddingModel : public EngineModel {
 public:
  /// Throws invalid naming the text.
  virtual void check(const EmbedRequest& request) const = 0;
  int64_t cached_tokens(const EmbedRequest& /*request*/) const { return 0; }
  uint64_t media_bytes(const EmbedRequest& /*request*/) const { return 0; }
  virtual std::unique_ptr<Sequence> start(EmbedRequest request) = 0;
};

/// The engine behind the worker: libmlx, or a fake in tests. Every call on the worker thread.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceFacts device() = 0;
  /// Measures the GPU's memory, in bytes read and written a second; 0: the device is the CPU.
  virtual double gpu_bandwidth() { return 0; }
  /// Loads and validates the weights in `model_dir`: a TextModel for text and vision, a SpeechModel for speech, an
  /// EmbeddingModel for embedding. Throws bad_model, memory, or unsupported, also for a kind that the backend does not
  /// have. `progress` steps other models: it is called between two evaluations, outside of any PhaseScope.
  virtual std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& model_dir,
                                            const LoadOptions& options, const ProgressSink& progress) = 0;
  virtual ConvertReport convert(const ConvertOptions& options, const ProgressSink& progress) = 0;
  /// Called after a while without requests: returns memory that is kept for the next request.
  virtual void rest() {}
};

}  // namespace mlxk
