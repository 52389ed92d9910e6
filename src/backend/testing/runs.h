#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "kernels/cpu_op.h"
#include "worker/backend.h"
#include "worker/request.h"

namespace mlxk {

/// A request, the round of steps in which it arrives, and the round before which it is cancelled.
struct Arrival {
  GenerateRequest request;
  int at = 0;
  int cancelled_before = 1 << 30;
};

/// Steps a model until all requests have ended; returns the events of each.
inline std::vector<std::vector<Event>> run(TextModel& model, const std::vector<Arrival>& arrivals) {
  std::vector<std::vector<Event>> events(arrivals.size());
  std::map<size_t, std::unique_ptr<Sequence>> running;
  size_t ended = 0;
  for (int round = 0; ended < arrivals.size(); ++round) {
    for (size_t i = 0; i < arrivals.size(); ++i) {
      if (arrivals[i].at == round) running[i] = model.start(arrivals[i].request);
      if (arrivals[i].cancelled_before == round && running.erase(i) == 1) ++ended;
    }
    std::vector<Sequence*> sequences;
    std::vector<size_t> numbers;
    for (const auto& [number, sequence] : running) {
      numbers.push_back(number);
      sequences.push_back(sequence.get());
    }
    if (sequences.empty()) continue;
    model.step(sequences, [&](size_t index, const Event& event) { events[numbers[index]].push_back(event); });
    for (const size_t number : numbers) {
      const auto& all = events[number];
      if (all.empty()) continue;
      if (std::holds_alternative<DoneEvent>(all.back()) || std::holds_alternative<FailedEvent>(all.back())) {
        running.erase(number);
        ++ended;
      }
    }
  }
  return events;
}

inline std::vector<TokenEvent> tokens_of(const std::vector<Event>& events) {
  std::vector<TokenEvent> tokens;
  for (const Event& event : events) {
    if (const auto* token = std::get_if<TokenEvent>(&event)) tokens.push_back(*token);
  }
  return tokens;
}

/// The same tokens with the same bits of their log-probabilities; on a GPU, where kernels are chosen by the number of
/// rows, close ones.
inline void expect_same(const std::vector<TokenEvent>& got, const std::vector<TokenEvent>& want, size_t number) {
  const auto alike = [](float a, float b) { return a == b || (!cpu_is_default() && std::abs(a - b) <= 1e-3F); };
  for (size_t t = 0; t < std::min(got.size(), want.size()); ++t) {
    ASSERT_EQ(got[t].token, want[t].token) << "request " << number << ", token " << t;
    ASSERT_PRED2(alike, got[t].logprob, want[t].logprob) << "request " << number << ", token " << t;
    ASSERT_EQ(got[t].top.size(), want[t].top.size());
    for (size_t i = 0; i < got[t].top.size(); ++i) {
      ASSERT_EQ(got[t].top[i].token, want[t].top[i].token) << "request " << number << ", token " << t;
      ASSERT_PRED2(alike, got[t].top[i].logprob, want[t].top[i].logprob) << "request " << number << ", token " << t;
    }
  }
}

inline GenerateRequest ask(int64_t length, int64_t vocab, int64_t max_tokens, int salt) {
  GenerateRequest request;
  for (int64_t i = 0; i < length; ++i)
    request.prompt.push_back(static_cast<int32_t>((i * 37 + salt * 101 + 11) % vocab));
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.top_logprobs = salt % 3 - 1;  // no score, its own, the likeliest as well
  return request;
}

}  // namespace mlxk
