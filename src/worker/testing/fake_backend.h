#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "worker/backend.h"
#include "worker/request.h"
#include "worker/testing/fake_embedding.h"

namespace mlxk::testing {

/// Counts calls of the fakes for a test; any thread.
struct FakeCounters {
  std::atomic<int> models{0};          // alive
  std::atomic<int> sequences{0};       // alive
  std::atomic<int> wrong_thread{0};    // calls from another thread than the one that made the backend
  std::atomic<int> max_batch{0};       // sequences in one step
  std::atomic<int> models_at_load{0};  // alive when the last load began
  std::atomic<int> rests{0};           // of the backend
};

/// First prompt tokens that make FakeSequence misbehave; any other prompt is answered with 0, 1, 2 … max_tokens - 1.
constexpr int32_t kFailToStart = -1;
constexpr int32_t kFailAtThirdStep = -2;  // by an exception, as a failed evaluation does
constexpr int32_t kFailAlone = -3;        // by a FailedEvent
constexpr int32_t kEndless = -4;
constexpr int32_t kSlow = -5;  // a step takes a millisecond or more
/// Prompts longer than this are processed in parts, one a step.
constexpr int64_t kFakePart = 512;

class ThreadGuard {
 public:
  explicit ThreadGuard(std::shared_ptr<FakeCounters> counters) : counters(std::move(counters)) {}
  void check() const {
    if (std::this_thread::get_id() != home_) ++counters->wrong_thread;
  }
  std::shared_ptr<FakeCounters> counters;

 private:
  std::thread::id home_ = std::this_thread::get_id();
};

class FakeSequence : public Sequence {
 public:
  FakeSequence(ThreadGuard guard, GenerateRequest request) : guard_(std::move(guard)), request_(std::move(request)) {
    ++guard_.counters->sequences;
  }
  ~FakeSequence() override {
    guard_.check();
    --guard_.counters->sequences;
  }

  void step(const std::function<void(const Event&)>& sink) {
    guard_.check();
    const int32_t how = request_.prompt.at(0);
    ++steps_;
    if (how == kSlow) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const auto length = static_cast<int64_t>(request_.prompt.size());
    if (prefilled_ < length) {
      prefilled_ = std::min(prefilled_ + kFakePart, length);
      sink(PrefillEvent{prefilled_, length});
      return;
    }
    if (how == kFailAtThirdStep && steps_ == 3) throw Error(ErrorKind::memory, "the device is full");
    if (how == kFailAlone) {
      sink(FailedEvent{ErrorKind::bad_model, "NaN logits"});
      return;
    }
    sink(TokenEvent{static_cast<int32_t>(tokens_++)});
    if (how != kEndless && tokens_ == request_.max_tokens) sink(done(FinishReason::length));
  }

  DoneEvent cancelled() const override {
    guard_.check();
    return done(FinishReason::cancelled);
  }

 private:
  DoneEvent done(FinishReason reason) const {
    return {reason, {.prompt_tokens = static_cast<int64_t>(request_.prompt.size()), .completion_tokens = tokens_}, {}};
  }

  ThreadGuard guard_;
  GenerateRequest request_;
  int steps_ = 0;
  int64_t prefilled_ = 0, tokens_ = 0;
};

class FakeModel : public TextModel {
 public:
  explicit FakeModel(ThreadGuard guard) : guard_(std::move(guard)) { ++guard_.counters->models; }
  ~FakeModel() override {
    guard_.check();
    --guard_.counters->models;
  }
  const ModelFacts& facts() const override { return facts_; }
  uint64_t kv_bytes(int64_t tokens) const override { return static_cast<uint64_t>(tokens); }
  CacheFacts cache_facts() const override {
    guard_.check();
    return {.kv_bytes = static_cast<uint64_t>(guard_.counters->sequences)};
  }
  void check(const GenerateRequest& request) const override {
    guard_.check();
    if (request.max_tokens < 1) throw Error(ErrorKind::invalid, "max_tokens must be at least 1");
  }
  std::unique_ptr<Sequence> start(GenerateRequest request) override {
    guard_.check();
    if (request.prompt.at(0) == kFailToStart) throw Error(ErrorKind::invalid, "a bad prompt");
    return std::make_unique<FakeSequence>(guard_, std::move(request));
  }
  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    guard_.check();
    auto& most = guard_.counters->max_batch;
    most = std::max(most.load(), static_cast<int>(running.size()));
    for (size_t i = 0; i < running.size(); ++i) {
      static_cast<FakeSequence*>(running[i])->step([&](const Event& event) { sink(i, event); });
    }
  }

 private:
  ThreadGuard guard_;
  ModelFacts facts_{.model_type = "fake", .vocab_size = 100};
};

/// A backend that counts. The folder "absent" throws not_found, "broken" throws bad_model half-way; "pieces" reports
/// progress five times, others once. Made on the worker thread.
class FakeBackend : public Backend {
 public:
  explicit FakeBackend(std::shared_ptr<FakeCounters> counters) : guard_(std::move(counters)) {}
  ~FakeBackend() override { guard_.check(); }
  DeviceFacts device() override {
    guard_.check();
    return {"fake", "0"};
  }
  std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& model_dir, const LoadOptions&,
                                    const ProgressSink& progress) override {
    guard_.check();
    if (kind == ModelKind::embedding) return std::make_unique<FakeEmbeddingModel>(4, 300);
    if (kind != ModelKind::text) throw Error(ErrorKind::unsupported, "this engine has text models alone");
    if (model_dir == "absent") throw Error(ErrorKind::not_found, "no such folder", "look elsewhere");
    guard_.counters->models_at_load = guard_.counters->models.load();
    const int64_t pieces = model_dir == "pieces" ? 5 : 1;
    for (int64_t piece = 1; piece <= pieces; ++piece) progress("weights", piece, pieces);
    if (model_dir == "broken") throw Error(ErrorKind::bad_model, "a tensor is missing");
    return std::make_unique<FakeModel>(guard_);
  }
  ConvertReport convert(const ConvertOptions& options, const ProgressSink& progress) override {
    guard_.check();
    progress("converting", 1, 2);
    return {.model_type = options.source.string()};
  }
  void rest() override {
    guard_.check();
    ++guard_.counters->rests;
  }

 private:
  ThreadGuard guard_;
};

}  // namespace mlxk::testing
