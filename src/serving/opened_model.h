#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "chat/prompt.h"
#include "policy/policy.h"
#include "probe/model_info.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "worker/worker.h"

namespace mlxk {

/// A text model on its way through Resolve, Probe, Policy and Load. The weights are read while the tokenizer is built
/// and the prompt prepared; one that is refused stops the reading. One thread at a time.
class OpenedModel {
 public:
  using MakeBackend = std::function<std::unique_ptr<Backend>()>;

  /// Resolve, Probe, Policy; tokenizer and template. Throws not_found, ambiguous, what Policy blocks, bad_model.
  /// A warning of Policy goes to stderr. `draft`: the draft model's name or folder, as find_draft; empty: none.
  OpenedModel(const std::string& spec, const RequestFacts& request, MakeBackend make_backend, LoadOptions options = {},
              const std::string& draft = {});

  const ModelInfo& info() const { return info_; }
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  /// Null when the model has none.
  const ChatTemplate* chat_template() const { return template_.get(); }

  /// Waits for the engine and the weights; throws the backend's Error. Asks check_stop().
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
  /// Reads beside this thread; its end stops the reading.
  struct Loading {
    ~Loading() { unwanted = true; }
    std::atomic<bool> unwanted{false};
    std::future<Loaded> result;  // destroyed before the flag, waits
  };

  static Loaded load(const MakeBackend& make_backend, const std::filesystem::path& dir, const LoadOptions& options,
                     const std::atomic<bool>& unwanted);

  ModelInfo info_;
  LoadOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  std::unique_ptr<Worker> worker_;
  std::shared_ptr<const ModelHandle> handle_;  // released before the worker ends
  double load_seconds_ = 0;
  Loading loading_;
};

}  // namespace mlxk
