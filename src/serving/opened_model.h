#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "audio/processor.h"
#include "chat/prompt.h"
#include "policy/policy.h"
#include "probe/model_info.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "vision/processor.h"
#include "worker/worker.h"

namespace mlxk {

/// A text, vision or audio model that passes Resolve, Probe, Policy and Load. The weights load while the tokenizer is
/// built and the prompt is prepared; a refused prompt stops the load. One thread at a time.
class OpenedModel {
 public:
  using MakeBackend = std::function<std::unique_ptr<Backend>()>;

  /// Resolves, probes and admits `spec`; reads tokenizer and template. Throws not_found, ambiguous, Policy's refusals,
  /// bad_model. A warning of Policy goes to stderr. `draft`: the draft model, as in find_draft; empty: none.
  /// `images_may_come`: a vision model is loaded with its image encoder, though this request has no images.
  OpenedModel(const std::string& spec, const RequestFacts& request, MakeBackend make_backend, LoadOptions options = {},
              const std::string& draft = {}, bool images_may_come = false);

  const ModelInfo& info() const { return info_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  /// The chat template; null if the model has none.
  const ChatTemplate* chat_template() const { return template_.get(); }
  /// Null unless there are, or may be, images.
  const ImageProcessor* image_processor() const { return image_processor_.get(); }
  /// Null unless recordings come.
  const AudioProcessor* audio_processor() const { return audio_processor_.get(); }

  /// Waits for the engine and the weights; throws the backend's Error. Calls check_stop().
  void load();
  Worker& worker() { return *worker_; }
  const std::shared_ptr<const ModelHandle>& handle() const { return handle_; }
  double load_seconds() const { return load_seconds_; }

 private:
  struct Loaded {
    std::unique_ptr<Worker> worker;
    std::shared_ptr<const ModelHandle> handle;
    double seconds;
  };
  /// The load on a thread of its own; the destructor stops it.
  struct Loading {
    ~Loading() { unwanted = true; }
    std::atomic<bool> unwanted{false};
    std::future<Loaded> result;  // destroyed before the flag, waits
  };

  static Loaded load(const MakeBackend& make_backend, ModelKind kind, const std::filesystem::path& dir,
                     const LoadOptions& options, const std::atomic<bool>& unwanted);

  ModelInfo info_;
  LoadOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::unique_ptr<const ImageProcessor> image_processor_;
  std::unique_ptr<const AudioProcessor> audio_processor_;
  std::unique_ptr<Worker> worker_;
  std::shared_ptr<const ModelHandle> handle_;  // released before the worker ends
  double load_seconds_ = 0;
  Loading loading_;
};

}  // namespace mlxk
