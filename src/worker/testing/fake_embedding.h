#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "worker/backend.h"

namespace mlxk::testing {

/// Returns, for a text of tokens that are bytes, [tokens, its first letter, a vowel or not, 0, …]. A text that ends
/// with "!bad" (followed by one special token) has no vector, and one with "!endless" never gets it.
class FakeEmbeddingModel : public EmbeddingModel {
 public:
  FakeEmbeddingModel(int64_t dimensions, int64_t vocab_size, std::chrono::microseconds step = {}) : step_(step) {
    facts_ = {.model_type = "bert",
              .vocab_size = vocab_size,
              .context_length = 64,
              .weight_bytes = 64,
              .embedding = EmbeddingFacts{dimensions, 64, {}}};
  }
  const ModelFacts& facts() const override { return facts_; }
  void check(const EmbedRequest& request) const override {
    if (request.texts.empty()) throw Error(ErrorKind::invalid, "there is no text");
  }
  std::unique_ptr<Sequence> start(EmbedRequest request) override { return std::make_unique<Texts>(std::move(request)); }

  /// A text of each request.
  void step(std::span<Sequence* const> running, const StepSink& sink) override {
    if (step_.count() > 0) std::this_thread::sleep_for(step_);
    for (size_t i = 0; i < running.size(); ++i) {
      auto& texts = static_cast<Texts&>(*running[i]);
      const EncodedText& text = texts.request.texts[texts.next];
      if (ends_with(text, "!endless")) continue;
      if (ends_with(text, "!bad")) {
        sink(i, FailedEvent{ErrorKind::bad_model,
                            fmt::format("the model's output for text {} is not finite: number 0 is nan", texts.next)});
        continue;
      }
      texts.tokens += static_cast<int64_t>(text.ids.size());
      sink(i, VectorEvent{texts.next++, {.vector = vector_of(text)}});
      if (texts.next == texts.request.texts.size()) sink(i, DoneEvent{FinishReason::stop, texts.usage(), {}});
    }
  }

 private:
  struct Texts : Sequence {
    explicit Texts(EmbedRequest given) : request(std::move(given)) {}
    DoneEvent cancelled() const override { return {FinishReason::cancelled, usage(), {}}; }
    Usage usage() const { return {.prompt_tokens = tokens}; }
    EmbedRequest request;
    size_t next = 0;
    int64_t tokens = 0;
  };

  static bool ends_with(const EncodedText& text, std::string_view end) {
    std::string letters;
    for (const int32_t id : text.ids) letters += id < 256 ? static_cast<char>(id) : ' ';
    return letters.size() > end.size() && letters.compare(letters.size() - 1 - end.size(), end.size(), end) == 0;
  }

  std::vector<float> vector_of(const EncodedText& text) const {
    const int32_t letter = text.ids.size() > 1 ? text.ids[1] : 0;
    std::vector<float> vector(static_cast<size_t>(facts_.embedding->dimensions));
    vector[0] = static_cast<float>(text.ids.size());
    if (vector.size() > 1) vector[1] = static_cast<float>(letter);
    if (vector.size() > 2) vector[2] = std::string_view("aeiou").find(static_cast<char>(letter)) != std::string::npos;
    return vector;
  }

  std::chrono::microseconds step_;
  ModelFacts facts_;
};

}  // namespace mlxk::testing
