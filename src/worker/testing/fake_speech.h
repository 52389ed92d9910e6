#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "worker/backend.h"
#include "worker/speech.h"

namespace mlxk::testing {

struct FakeSpeechOptions {
  std::chrono::microseconds step{0};  // the time of a step
  bool fails = false;                 // the second window's step throws
};

/// A Whisper that hears English and, in each window, "heard" from 0 to 2 s: one task a step.
class FakeSpeechModel : public SpeechModel {
 public:
  explicit FakeSpeechModel(FakeSpeechOptions options = {}) : options_(options) {
    facts_ = {.model_type = "whisper",
              .vocab_size = kVocabulary,
              .context_length = 448,
              .weight_bytes = 64,
              .speech = SpeechFacts{80, 3000, 1500, 448}};
  }
  const ModelFacts& facts() const override { return facts_; }
  void check(const SpeechRequest&) const override {}
  std::unique_ptr<Sequence> start(SpeechRequest request) override {
    ++windows_;
    return std::make_unique<Window>(std::move(request));
  }
  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    if (options_.step.count() > 0) std::this_thread::sleep_for(options_.step);
    if (options_.fails && windows_ > 1) throw Error(ErrorKind::memory, "the device is full");
    for (size_t i = 0; i < running.size(); ++i) {
      if (static_cast<Window*>(running[i])->go_on()) sink(i, DoneEvent{FinishReason::stop, {}, {}});
    }
  }

  static constexpr int64_t kVocabulary = 51865;  // multilingual, 99 languages

 private:
  struct Window : Sequence {
    explicit Window(SpeechRequest given) : request(std::move(given)), task(SpeechFinish{}) {}
    DoneEvent cancelled() const override { return {FinishReason::cancelled, {}, {}}; }

    /// Answers one task; true after the last.
    bool go_on() {
      if (!std::exchange(listened, true)) {
        task = request.next(SpeechEncoded{});
      } else if (const auto* detect = std::get_if<SpeechDetect>(&task)) {
        SpeechLanguages heard;
        heard.probabilities.assign(detect->languages.size(), 0.001F);
        heard.probabilities.at(0) = 0.9F;
        task = request.next(std::move(heard));
      } else if (const auto* search = std::get_if<SpeechSearch>(&task)) {
        task = request.next(text(*search));
      } else if (const auto* align = std::get_if<SpeechAlign>(&task)) {
        task = request.next(alignment(*align));
      }
      return std::holds_alternative<SpeechFinish>(task);
    }

    /// " heard" by bytes, as the first tokens of the vocabulary are.
    static SpeechText text(const SpeechSearch& search) {
      SpeechText answer;
      if (search.rules.with_timestamps) answer.tokens.push_back(search.rules.timestamps);
      answer.tokens.push_back(220);
      for (const char c : std::string("heard")) answer.tokens.push_back(c - '!');
      if (search.rules.with_timestamps) answer.tokens.push_back(search.rules.timestamps + 100);
      answer.sum_logprob = -0.1;
      return answer;
    }

    static SpeechAlignment alignment(const SpeechAlign& align) {
      SpeechAlignment answer{1, 1500, {}, std::vector<float>(align.tokens.size() - 1, 0.5F)};
      answer.scores.assign(align.tokens.size() * 1500, 0);
      // Each token takes 0.16 s: the filter would treat anything shorter as noise.
      for (size_t i = 0; i < align.tokens.size(); ++i)
        std::fill_n(answer.scores.begin() + static_cast<int64_t>(i * 1508), 8, 10.0F);
      return answer;
    }

    SpeechRequest request;
    SpeechTask task;
    bool listened = false;
  };

  FakeSpeechOptions options_;
  ModelFacts facts_;
  int windows_ = 0;
};

}  // namespace mlxk::testing
