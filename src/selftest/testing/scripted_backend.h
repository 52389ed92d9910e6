#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "worker/backend.h"
#include "worker/request.h"
#include "worker/testing/fake_embedding.h"
#include "worker/testing/fake_speech.h"

namespace mlxk::testing {

/// The answers of a scripted text model, and its faults.
struct Script {
  std::string says;               // the bytes of its answer, unless constrained; empty: arbitrary letters
  int32_t end = 264;              // <|im_end|> of write_tiny_model
  bool heeds_constraints = true;  // false: answers `says` even if constrained
  bool minds_neighbours = false;  // an answer depends on earlier requests
  bool minds_cuts = false;        // … on how its prompt was cut
  bool minds_cache = false;       // … on whether its prompt was cached
  bool caches = true;             // prompts
  bool finite = true;             // log-probabilities
  bool silent = false;            // it ends its answers at once
  int64_t longest = 1 << 20;      // tokens of a request that memory has room for
  bool breaks_on_long = false;    // longer ones are not refused, but fail
  uint64_t weight_bytes = 64;
  float english = -2;  // log-probability of a prompt's token
};

/// A request for more tokens than this continues until it is cancelled.
constexpr int64_t kEndlessTokens = 1000;

/// A text model whose next token is a function of all tokens before it.
class ScriptedModel : public TextModel {
 public:
  explicit ScriptedModel(Script script) : script_(std::move(script)) {
    facts_ = {.model_type = "llama", .vocab_size = 269, .context_length = 4096, .weight_bytes = script_.weight_bytes};
  }
  const ModelFacts& facts() const override { return facts_; }
  void check(const GenerateRequest& request) const override {
    const auto tokens = static_cast<int64_t>(request.prompt.size()) + request.max_tokens;
    if (tokens > script_.longest && !script_.breaks_on_long) throw Error(ErrorKind::memory, "too long for the memory");
  }
  std::unique_ptr<Sequence> start(GenerateRequest request) override {
    auto sequence = std::make_unique<Scripted>();
    const auto key = std::make_pair(request.cache_scope, request.prompt);
    sequence->cached = script_.caches && !request.prompt_logprobs && !prompts_.insert(key).second;
    sequence->request = std::move(request);
    sequence->number = ++requests_;
    return sequence;
  }
  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    const auto decodes = [](Sequence* one) { return static_cast<Scripted*>(one)->decodes(); };
    const auto decoding = std::count_if(running.begin(), running.end(), decodes);
    for (size_t i = 0; i < running.size(); ++i) {
      auto& one = static_cast<Scripted&>(*running[i]);
      if (one.decodes()) {
        decode(one, [&](const Event& event) { sink(i, event); });
        continue;
      }
      const auto length = static_cast<int64_t>(one.request.prompt.size());
      if (length + one.request.max_tokens > script_.longest) throw Error(ErrorKind::internal, "the cache is overrun");
      one.prefilled = std::min(length, one.prefilled + (decoding > 0 ? 128 : 512));
      ++one.pieces;
      sink(i, PrefillEvent{one.prefilled, length});
      if (one.decodes() && one.request.prompt_logprobs) {
        PromptEvent prompt;
        for (int64_t at = 1; at < length; ++at)
          prompt.tokens.push_back({one.request.prompt[static_cast<size_t>(at)], script_.english, {}});
        sink(i, prompt);
      }
    }
  }

 private:
  struct Scripted : Sequence {
    DoneEvent cancelled() const override { return done(FinishReason::cancelled); }
    DoneEvent done(FinishReason reason) const {
      const auto length = static_cast<int64_t>(request.prompt.size());
      return {reason,
              {.prompt_tokens = length,
               .cached_tokens = cached ? length - 1 : 0,
               .completion_tokens = static_cast<int64_t>(answer.size())},
              {.first_token_s = 0.01, .decode_s = 0.1}};
    }
    bool decodes() const { return prefilled == static_cast<int64_t>(request.prompt.size()); }
    GenerateRequest request;
    std::vector<int32_t> answer;
    int64_t prefilled = 0, pieces = 0;
    bool cached = false;
    uint32_t number = 0;  // of the requests of this model
  };

  uint32_t state_of(const Scripted& one) const {
    uint32_t state = 17;
    for (const int32_t id : one.request.prompt) state = state * 31 + static_cast<uint32_t>(id);
    for (const int32_t id : one.answer) state = state * 31 + static_cast<uint32_t>(id);
    if (script_.minds_neighbours) state += one.number;
    if (script_.minds_cuts) state += static_cast<uint32_t>(one.pieces);
    if (script_.minds_cache) state += one.cached ? 1 : 0;
    return state ^ state >> 15;
  }

  /// An end, a closing bracket or a quote if allowed, else some allowed letter.
  int32_t held(TokenConstraint& constraint, uint32_t state) const {
    std::vector<uint32_t> mask(static_cast<size_t>(facts_.vocab_size + 31) / 32);
    constraint.allowed(mask);
    const auto allowed = [&](int32_t id) { return (mask[static_cast<size_t>(id) / 32] >> (id % 32) & 1) != 0; };
    for (const int32_t id : {script_.end, 268, 267, 266, int32_t{'}'}, int32_t{']'}, int32_t{'"'}}) {
      if (allowed(id)) return id;
    }
    std::vector<int32_t> choices;
    for (int32_t id = '!'; id < facts_.vocab_size; ++id) {
      if (allowed(id) && (choices.empty() || id <= '~')) choices.push_back(id);
    }
    for (int32_t id = 0; id < '!' && choices.empty(); ++id) {
      if (allowed(id)) choices.push_back(id);  // a line end
    }
    return choices.at(state % choices.size());
  }

  void decode(Scripted& one, const std::function<void(const Event&)>& sink) {
    const uint32_t state = state_of(one);
    const bool ends = !one.request.eos_token_ids.empty();
    const size_t at = one.answer.size();
    int32_t id = static_cast<int32_t>(state % 7 == 0 ? ' ' : 'a' + state % 26);
    if (one.request.constraint && script_.heeds_constraints) {
      id = held(*one.request.constraint, state);
      one.request.constraint->accept(id);
    } else if (!script_.says.empty()) {
      if (at < script_.says.size()) id = static_cast<unsigned char>(script_.says[at]);
      if (at >= script_.says.size() && ends) id = script_.end;
    } else if (ends && at >= 200) {
      id = script_.end;
    }
    if (script_.silent) id = script_.end;
    if (id == script_.end && (ends || script_.silent)) return sink(one.done(FinishReason::stop));
    one.answer.push_back(id);
    const float logprob = -0.5F - static_cast<float>(state % 100) / 1000;
    sink(TokenEvent{id, script_.finite ? logprob : std::numeric_limits<float>::quiet_NaN(), {}});
    const bool endless = one.request.max_tokens > kEndlessTokens;  // however slow the test is
    if (!endless && static_cast<int64_t>(one.answer.size()) == one.request.max_tokens) {
      sink(one.done(FinishReason::length));
    }
  }

  Script script_;
  ModelFacts facts_;
  uint32_t requests_ = 0;
  std::set<std::pair<std::string, std::vector<int32_t>>> prompts_;
};

/// An engine of scripted text models, and of the fake speech and embedding models; it reports itself as a CPU.
class ScriptedBackend : public Backend {
 public:
  explicit ScriptedBackend(Script script) : script_(std::move(script)) {}
  DeviceFacts device() override { return {"cpu", "0", "scripted"}; }
  std::unique_ptr<EngineModel> load(ModelKind kind, const std::filesystem::path&, const LoadOptions&,
                                    const ProgressSink&) override {
    if (kind == ModelKind::speech) return std::make_unique<FakeSpeechModel>();
    if (kind == ModelKind::embedding) return std::make_unique<FakeEmbeddingModel>(4, 300);
    return std::make_unique<ScriptedModel>(script_);
  }
  ConvertReport convert(const ConvertOptions&, const ProgressSink&) override {
    throw Error(ErrorKind::unsupported, "this engine does not convert");
  }

 private:
  Script script_;
};

}  // namespace mlxk::testing
