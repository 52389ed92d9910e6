#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "serving/text_encoder.h"
#include "worker/worker.h"

namespace mlxk {

/// The numbers of a request's texts on their way.
class PendingVectors {
 public:
  /// Waits for the model's output for each text, in their order; calls `stop_wanted` some twenty times a second and
  /// then throws cancelled. Throws the engine's Error. Once.
  std::vector<TextNumbers> wait(const std::function<bool()>& stop_wanted);
  ~PendingVectors();
  PendingVectors(PendingVectors&&) = default;
  PendingVectors& operator=(PendingVectors&&) = default;

 private:
  friend PendingVectors submit_texts(Worker&, const std::shared_ptr<const ModelHandle>&, EmbedRequest);
  PendingVectors() = default;
  struct State;
  std::shared_ptr<State> state_;
  Ticket ticket_;
};

/// Begins to compute the texts of `request` on a loaded model.
PendingVectors submit_texts(Worker& worker, const std::shared_ptr<const ModelHandle>& model, EmbedRequest request);

/// An embedding model, reranker or classifier on its way through Resolve, Probe, Policy and Load, with a worker of its
/// own. One thread.
class Embedder {
 public:
  using MakeBackend = std::function<std::unique_ptr<Backend>()>;

  /// Loads the model `spec` for `task`. Throws not_found, ambiguous, Policy's refusals, bad_model.
  Embedder(const std::string& spec, EncoderTask task, const MakeBackend& make_backend);

  const ModelInfo& info() const { return info_; }
  const TextEncoder& encoder() const { return *encoder_; }
  const EmbeddingFacts& facts() const { return *handle_->facts().embedding; }
  DeviceFacts device() { return worker_->device(); }

  /// Starts to compute `texts`; for a decoder that reranks, the logits of its encoder().score_tokens().
  PendingVectors submit(std::vector<EncodedText> texts, EmbedOutputs outputs = {});

 private:
  ModelInfo info_;
  std::shared_ptr<const TextEncoder> encoder_;
  std::unique_ptr<Worker> worker_;
  std::shared_ptr<const ModelHandle> handle_;  // released before the worker ends
};

}  // namespace mlxk
