#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/model_kind.h"
#include "worker/request.h"
#include "worker/speech.h"

namespace mlxk {

struct DeviceFacts {
  std::string name;  // "cpu", "metal", "cuda"
  std::string mlx_version;
  std::string kernels;  // the CPU kernels' instruction set; empty on a GPU
};

struct ModelFacts {
  std::string model_type;
  int64_t vocab_size = 0;      // rows of the embedding: ids at or past it are refused
  int64_t context_length = 0;  // 0: unknown
  uint64_t weight_bytes = 0;
  std::optional<SpeechFacts> speech;  // of a speech model
  // Tokens of a text up to which several can be computed in a step and forgotten again, so that guesses help; 0: never.
  int64_t speculative_tokens = std::numeric_limits<int64_t>::max();
  uint64_t draft_weight_bytes = 0;  // of the draft model, beside weight_bytes; 0: none guesses
};

/// Whether tokens are guessed by what the text so far says: never, wherever it says something, or where it gains.
enum class PromptLookup { off, on, automatic };

/// How a model is loaded. Only text models look at these.
struct LoadOptions {
  uint64_t prefix_cache_bytes = 0;         // keys and values of past prompts kept in memory; 0: none
  std::filesystem::path prefix_cache_dir;  // where they are kept on disk too; empty: nowhere
  uint64_t prefix_cache_disk_bytes = 0;
  PromptLookup prompt_lookup = PromptLookup::off;
  std::filesystem::path
      draft_dir;         // a smaller model of the same vocabulary that guesses tokens where that gains; empty: none
  int draft_tokens = 4;  // most tokens it guesses at a time; at least 1
  bool draft_always = false;  // also where it gains nothing
};

/// What a model's caches hold and gave, for metrics.
struct CacheFacts {
  uint64_t kv_bytes = 0;  // of running requests
  uint64_t prefix_bytes = 0, prefix_disk_bytes = 0;
  uint64_t prefix_entries = 0;
  uint64_t hit_tokens = 0, lookup_tokens = 0;  // since it was loaded
  uint64_t drafted_tokens = 0, accepted_tokens = 0;
};

/// One running completion, stepped by its model; destroying it ends it. Every call on the worker thread.
class Sequence {
 public:
  virtual ~Sequence() = default;
  /// The end of a request that was cancelled between two steps.
  virtual DoneEvent cancelled() const = 0;
};

/// Takes an event of the sequence at `index` of those that are stepped; must not throw.
using StepSink = std::function<void(size_t index, const Event& event)>;

/// A loaded model of any kind: what the worker's loop needs to step its requests between those of others. Every call,
/// the destructor too, on the worker thread.
class EngineModel {
 public:
  virtual ~EngineModel() = default;
  virtual const ModelFacts& facts() const = 0;
  /// Bytes of keys and values that a request of so many tokens (prompt and answer) will need at most.
  virtual uint64_t kv_bytes(int64_t /*tokens*/) const { return 0; }
  virtual CacheFacts cache_facts() const { return {}; }
  /// Goes on with `running`, sequences of this model that have not ended: a token, or several, for each of those
  /// that decode, a part of a prompt for one of the others. Events reach `sink` as soon as they are known; Done, or a
  /// Failed that concerns this request alone, is a sequence's last, and it is not stepped again. What it throws fails
  /// every request on the model.
  virtual void step(std::span<Sequence* const> running, const StepSink& sink) = 0;
};

/// A loaded text model.
class TextModel : public EngineModel {
 public:
  /// Throws invalid naming the field (ids, lengths); asked when a request arrives, before it waits.
  virtual void check(const GenerateRequest& /*request*/) const {}
  /// Of the prompt, how many tokens a cache would give if it began now.
  virtual int64_t cached_tokens(const GenerateRequest& /*request*/) const { return 0; }
  /// Checks the request and makes its caches; throws invalid naming the field.
  virtual std::unique_ptr<Sequence> start(GenerateRequest request) = 0;
};

/// A loaded speech model: a request is one window of sound.
class SpeechModel : public EngineModel {
 public:
  /// Throws invalid naming the field.
  virtual void check(const SpeechRequest& request) const = 0;
  int64_t cached_tokens(const SpeechRequest& /*request*/) const { return 0; }
  virtual std::unique_ptr<Sequence> start(SpeechRequest request) = 0;
};

struct ConvertOptions {
  std::filesystem::path source;  // a .gguf, .bin, .pth or .npz file, or a folder of such or of safetensors
  std::filesystem::path target;  // must not exist
  int quantize_bits = 0;         // 0: keep as it is, unless a recipe is given
  int group_size = 0;            // 0: the default of the mode
  std::string mode = "affine";
  std::string recipe;  // mixed_2_6, mixed_3_4, mixed_3_6 or mixed_4_6, instead of quantize_bits
  bool dequantize = false;
  std::string dtype;        // float16, bfloat16 or float32 for what is not packed; empty: config.json's torch_dtype
  std::string source_repo;  // org/name, where it is known; goes into the model card
  uint64_t max_shard_bytes = uint64_t{5} << 30;
  bool check_health = true;
  bool check_drift = false;
  double max_kl = std::numeric_limits<double>::infinity();  // a larger mean drift is refused
  /// The tokens of the text that the drift is measured on, by the tokenizer in that folder. On the worker thread.
  std::function<std::vector<int32_t>(const std::filesystem::path& folder)> drift_tokens;
};
/// How far the logits of a conversion are from its source's, over the positions of a text.
struct Drift {
  int64_t tokens = 0;
  double mean_kl = 0, max_kl = 0;  // nats, of the source's distribution relative to the result's
  double top1_agreement = 0;       // share of positions whose likeliest token is the same
};
struct ConvertReport {
  std::string model_type;
  std::string quantization;  // "4-bit group 32", or empty
  std::vector<std::string> warnings;
  std::string mode;           // what was done: quantize, dequantize, gguf, convert
  std::string health_reason;  // where it was checked
  std::optional<Drift> drift;
};
using ProgressSink = std::function<void(const std::string& what, int64_t done, int64_t total)>;

/// The engine behind the worker: libmlx, or a fake in tests. Every call on the worker thread.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceFacts device() = 0;
  /// Loads and validates the weights in `model_dir`: a TextModel for text and vision, a SpeechModel for speech. Throws
  /// bad_model, memory, or unsupported also for a kind that the backend does not have. Other models are stepped in
  /// `progress`: it is called between two evaluations, outside of any PhaseScope.
  virtual std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& model_dir,
                                            const LoadOptions& options, const ProgressSink& progress) = 0;
  virtual ConvertReport convert(const ConvertOptions& options, const ProgressSink& progress) = 0;
  /// Nothing was asked for a while: gives memory back that it keeps for the next request.
  virtual void rest() {}
};

}  // namespace mlxk
