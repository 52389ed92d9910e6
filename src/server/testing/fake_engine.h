#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "probe/embedding_config.h"
#include "tokenizer/tokenizer.h"
#include "worker/backend.h"
#include "worker/request.h"
#include "worker/testing/fake_embedding.h"
#include "worker/testing/fake_speech.h"

namespace mlxk::testing {

struct FakeEngineOptions {
  std::chrono::microseconds step{0};  // the time of a step
  int64_t prefill_part = 512;         // tokens of a prompt in a step
};

/// The last directive of a prompt, which the fake engine obeys; any other prompt is answered with a few dozen tokens
/// that depend on the prompt alone.
///   !say TEXT     answers TEXT, up to the end of the turn
///   !endless      goes on until it is stopped
///   !fail start | alone | step   refuses the request, fails it after three tokens, fails all after three tokens
struct FakeScript {
  enum class Kind { say, endless, fail_start, fail_alone, fail_step } kind = Kind::say;
  std::vector<int32_t> tokens;  // of Kind::say, without the end

  static FakeScript read(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt) {
    const std::string text = tokenizer.decode(prompt, false);
    const auto rest = [&](std::string_view word) -> std::optional<std::string> {
      const size_t at = text.rfind(word);
      if (at == std::string::npos) return std::nullopt;
      return text.substr(at + word.size(), text.find("<|im_end|>", at) - at - word.size());
    };
    if (const auto said = rest("!say ")) return {Kind::say, tokenizer.encode(*said, false)};
    if (rest("!endless")) return {Kind::endless, {}};
    if (rest("!fail start")) return {Kind::fail_start, {}};
    if (rest("!fail alone")) return {Kind::fail_alone, {}};
    if (rest("!fail step")) return {Kind::fail_step, {}};
    FakeScript script;
    uint64_t hash = 1469598103934665603U;
    for (const int32_t id : prompt) hash = (hash ^ static_cast<uint64_t>(id)) * 1099511628211U;
    for (uint64_t left = 20 + hash % 40; left > 0; --left) {
      hash = hash * 6364136223846793005U + 1442695040888963407U;
      script.tokens.push_back(static_cast<int32_t>('a' + (hash >> 33) % 26));  // byte tokens: id = byte
    }
    return script;
  }
};

class FakeEngineSequence : public Sequence {
 public:
  FakeEngineSequence(GenerateRequest request, FakeScript script, int64_t cached, int64_t part, int32_t vocab,
                     int32_t end)
      : request_(std::move(request)),
        script_(std::move(script)),
        cached_(cached),
        done_(cached),
        part_(part),
        vocab_(vocab),
        end_(end) {}

  void step(const std::function<void(const Event&)>& sink) {
    const auto prompt = static_cast<int64_t>(request_.prompt.size());
    if (done_ < prompt) {
      done_ = std::min(done_ + part_, prompt);
      sink(PrefillEvent{done_, prompt});
      if (done_ == prompt && request_.prompt_logprobs) sink(prompt_event());
      return;
    }
    if (script_.kind == FakeScript::Kind::fail_alone && tokens_ == 3) {
      sink(FailedEvent{ErrorKind::bad_model, "logits that are not finite"});
      return;
    }
    if (script_.kind == FakeScript::Kind::fail_step && tokens_ == 3)
      throw Error(ErrorKind::memory, "the device is full");
    const int32_t token = next();
    ++tokens_;
    const auto& ends = request_.eos_token_ids;
    if (std::find(ends.begin(), ends.end(), token) != ends.end()) return sink(done(FinishReason::stop));
    sink(scored(token));
    if (request_.constraint && !request_.constraint->accept(token)) {
      sink(FailedEvent{ErrorKind::internal, fmt::format("token {} breaks the grammar", token)});
      return;
    }
    if (tokens_ == request_.max_tokens) sink(done(FinishReason::length));
  }

  DoneEvent cancelled() const override { return done(FinishReason::cancelled); }

 private:
  int32_t next() {
    const int32_t end = end_;
    int32_t token = end;
    if (script_.kind != FakeScript::Kind::say) token = 'x';
    if (said_ < script_.tokens.size()) token = script_.tokens[said_];
    if (request_.constraint) {
      std::vector<uint32_t> mask((static_cast<size_t>(vocab_) + 31) / 32);
      request_.constraint->allowed(mask);
      const auto allowed = [&](int32_t id) { return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1U) != 0; };
      if (!allowed(token)) {
        // The soonest end: the end token, else the last allowed character ('}' before ']' before letters before '"').
        token = end;
        for (const int32_t id : {end, int32_t{'"'}, int32_t{'}'}, int32_t{']'}}) {
          if (allowed(id)) return id;
        }
        for (int32_t id = vocab_ - 1; id >= 0; --id) {
          if (allowed(id)) return id;
        }
        return token;
      }
    }
    if (said_ < script_.tokens.size()) ++said_;
    return token;
  }

  TokenEvent scored(int32_t token) const {
    TokenEvent event{token};
    if (request_.top_logprobs < 0) return event;
    event.logprob = -0.25F * static_cast<float>(1 + token % 7);
    for (int i = 0; i < request_.top_logprobs; ++i)
      event.top.push_back({(token + i) % vocab_, event.logprob - static_cast<float>(i)});
    return event;
  }

  PromptEvent prompt_event() const {
    PromptEvent event;
    for (size_t i = 1; i < request_.prompt.size(); ++i) event.tokens.push_back(scored(request_.prompt[i]));
    return event;
  }

  DoneEvent done(FinishReason reason) const {
    return {reason,
            {.prompt_tokens = static_cast<int64_t>(request_.prompt.size()),
             .cached_tokens = cached_,
             .completion_tokens = tokens_},
            {}};
  }

  GenerateRequest request_;
  FakeScript script_;
  const int64_t cached_;
  int64_t done_;
  const int64_t part_;
  const int32_t vocab_, end_;
  int64_t tokens_ = 0;
  size_t said_ = 0;
};

class FakeEngineModel : public TextModel {
 public:
  FakeEngineModel(std::shared_ptr<const Tokenizer> tokenizer, FakeEngineOptions options)
      : tokenizer_(std::move(tokenizer)), options_(options) {
    facts_ = {.model_type = "fake", .vocab_size = tokenizer_->vocab_size(), .context_length = 4096, .weight_bytes = 64};
  }
  const ModelFacts& facts() const override { return facts_; }
  std::unique_ptr<Sequence> start(GenerateRequest request) override {
    FakeScript script = FakeScript::read(*tokenizer_, request.prompt);
    if (script.kind == FakeScript::Kind::fail_start) throw Error(ErrorKind::invalid, "a prompt to be refused");
    // The simplest prefix cache: a known prompt needs only its last token.
    const bool seen = !seen_.insert({request.cache_scope, request.prompt}).second;
    const auto cached = seen ? static_cast<int64_t>(request.prompt.size()) - 1 : 0;
    return std::make_unique<FakeEngineSequence>(std::move(request), std::move(script), cached, options_.prefill_part,
                                                tokenizer_->vocab_size(), tokenizer_->eos_token_ids().at(0));
  }
  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    if (options_.step.count() > 0) std::this_thread::sleep_for(options_.step);
    for (size_t i = 0; i < running.size(); ++i) {
      static_cast<FakeEngineSequence*>(running[i])->step([&](const Event& event) { sink(i, event); });
    }
  }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  FakeEngineOptions options_;
  ModelFacts facts_;
  std::set<std::pair<std::string, std::vector<int32_t>>> seen_;
};

/// An engine whose answers are known beforehand: see FakeScript. Its models have the tokenizer of their folder.
class FakeEngine : public Backend {
 public:
  explicit FakeEngine(FakeEngineOptions options = {}) : options_(options) {}
  DeviceFacts device() override { return {"fake", "0"}; }
  std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path& model_dir, const LoadOptions&,
                                    const ProgressSink& progress) override {
    if (progress) progress("weights", 1, 1);
    if (kind == ModelKind::speech) return std::make_unique<FakeSpeechModel>(FakeSpeechOptions{options_.step});
    auto tokenizer = Tokenizer::load(model_dir);
    if (kind == ModelKind::embedding) {
      const Json config = read_json(model_dir / "config.json");
      const int64_t width = config.contains("id2label") ? count_labels(config) : 4;
      return std::make_unique<FakeEmbeddingModel>(width, tokenizer->vocab_size(), options_.step);
    }
    return std::make_unique<FakeEngineModel>(std::move(tokenizer), options_);
  }
  ConvertReport convert(const ConvertOptions&, const ProgressSink&) override {
    throw Error(ErrorKind::unsupported, "the fake engine converts nothing");
  }

 private:
  FakeEngineOptions options_;
};

}  // namespace mlxk::testing
