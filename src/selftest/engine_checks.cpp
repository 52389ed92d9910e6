// Checks of the engine: an answer does not depend on concurrent requests, on the prompt cache or on prompt chunks.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <limits>

#include "base/counted.h"
#include "base/elapsed.h"
#include "base/error.h"
#include "selftest/text_checks.h"
#include "worker/worker.h"

namespace mlxk {

namespace {
constexpr size_t kBatch = 8;
constexpr int64_t kCachedPrompt = 300;
// More tokens than the engine computes at once: 512 tokens on a CPU, 2,048 elsewhere.
constexpr int64_t kCutPrompt = 600, kCutPromptOfGpu = 2300;
constexpr int64_t kQuickContext = 1024, kSmallestContext = 64, kLongAnswer = 8, kBesideTokens = 4096;
// Rounding may change log-probabilities by this much, and may exchange tokens that are this close.
constexpr float kTie = 0.1F;

std::string token_text(const std::optional<TokenEvent>& token) {
  return token ? fmt::format("{} ({:.4f})", token->token, token->logprob) : "the end";
}

/// The prompt's length for a check that needs `wanted` tokens; 0: the context is too small.
int64_t fitting(const TextSubject& subject, int64_t wanted, int64_t answer) {
  const int64_t context = subject.model.info().context_length;
  return context > 0 && wanted + answer > context ? 0 : wanted;
}
}  // namespace

CheckFinding same_answer(const TokenRun& whole, const TokenRun& other, bool exact) {
  if (whole.tokens.empty() && other.tokens.empty()) return CheckFinding::failed("there is no answer to compare");
  const float gap = largest_logprob_gap(whole.tokens, other.tokens);
  const auto difference = first_difference(whole.tokens, other.tokens);
  if (difference) {
    const std::string where = fmt::format("token {} is {} instead of {}", difference->index + 1,
                                          token_text(difference->second), token_text(difference->first));
    const bool close = difference->first && difference->second &&
                       std::abs(difference->first->logprob - difference->second->logprob) <= kTie;
    if (exact || !close) return CheckFinding::failed(where);
    return CheckFinding::passed(where + ": as likely");
  }
  if (!(gap <= (exact ? 0 : kTie))) {  // NaN too
    return CheckFinding::failed(
        fmt::format("the tokens are the same, but their log-probabilities differ by up to {:.2g}", gap));
  }
  return CheckFinding::passed(counted(whole.tokens.size(), "token"));
}

CheckFinding check_batch(const TextSubject& subject) {
  static constexpr const char* kQuestions[kBatch] = {"What is the capital of France?",
                                                     "Count from one to ten.",
                                                     "Write a line about the sea.",
                                                     "Say hello.",
                                                     "Name three fruits.",
                                                     "Why is the sky blue?",
                                                     "What is two and two?",
                                                     "Tell me a story about a small cat."};
  std::vector<GenerateRequest> requests;
  for (size_t i = 0; i < kBatch; ++i) {
    requests.push_back(
        subject.request(subject.chat(kQuestions[i]).prompt.ids, subject.answer_tokens(), fmt::format("alone {}", i)));
  }
  std::vector<TokenRun> alone;
  for (size_t i = 0; i < kBatch; ++i) {
    alone.push_back(subject.run_one(requests[i]));
    requests[i].cache_scope = fmt::format("batch {}", i);
  }
  const std::vector<TokenRun> together = subject.run(requests);
  size_t tokens = 0;
  for (size_t i = 0; i < kBatch; ++i) {
    if (alone[i].tokens.empty() && together[i].tokens.empty()) continue;  // it ends at once, alone or in the batch
    const CheckFinding finding = same_answer(alone[i], together[i], subject.exact());
    if (finding.outcome != Outcome::passed) {
      return CheckFinding::failed(fmt::format("request {} of {}: {}", i + 1, kBatch, finding.reason));
    }
    tokens += alone[i].tokens.size();
  }
  if (tokens == 0) return CheckFinding::failed("no request has an answer");
  return CheckFinding::passed(fmt::format("{} requests, {}", kBatch, counted(tokens, "token")));
}

CheckFinding check_prefix_cache(const TextSubject& subject) {
  const int64_t prompt = fitting(subject, kCachedPrompt, subject.answer_tokens());
  if (prompt == 0) return CheckFinding::skipped("the context is too small");
  const GenerateRequest request =
      subject.request(subject.filler(static_cast<size_t>(prompt)), subject.answer_tokens(), "prefix");
  const TokenRun fresh = subject.run_one(request), cached = subject.run_one(request);
  CheckFinding finding = same_answer(fresh, cached, subject.exact());
  if (finding.outcome != Outcome::passed) return finding;
  if (fresh.done.usage.cached_tokens > 0) return CheckFinding::failed("the first prompt was already cached");
  if (cached.done.usage.cached_tokens == 0)
    return CheckFinding::skipped("the engine does not cache this model's prompts");
  return CheckFinding::passed(
      fmt::format("{} of {} prompt tokens from the cache", cached.done.usage.cached_tokens, prompt));
}

CheckFinding check_cut_prompts(const TextSubject& subject) {
  const int64_t prompt = fitting(subject, subject.exact() ? kCutPrompt : kCutPromptOfGpu, subject.answer_tokens());
  if (prompt == 0) return CheckFinding::skipped("the context is too small for a prompt of several chunks");
  GenerateRequest request =
      subject.request(subject.filler(static_cast<size_t>(prompt)), subject.answer_tokens(), "whole");
  const TokenRun whole = subject.run_one(request);
  // While another answer is generated, prompts are computed in smaller chunks.
  GenerateRequest other = subject.request(subject.filler(kSmallestContext), 1, "beside");
  other.eos_token_ids.clear();
  const int64_t context = subject.model.info().context_length;
  other.max_tokens = context > 0 ? std::min(context - kSmallestContext, kBesideTokens) : kBesideTokens;
  const auto started = std::make_shared<std::promise<void>>();
  const auto ended = std::make_shared<std::promise<void>>();
  Ticket ticket = subject.worker.submit(
      subject.model.handle(), std::move(other), [started, ended, seen = false](const Event& event) mutable {
        const bool last = std::holds_alternative<DoneEvent>(event) || std::holds_alternative<FailedEvent>(event);
        if ((last || std::holds_alternative<TokenEvent>(event)) && !std::exchange(seen, true)) started->set_value();
        if (last) ended->set_value();
      });
  started->get_future().wait();
  request.cache_scope = "cut";
  TokenRun cut;
  try {
    cut = subject.run_one(request);
  } catch (...) {
    ticket.cancel();
    throw;
  }
  ticket.cancel();
  ended->get_future().wait();
  return same_answer(whole, cut, subject.exact());
}

CheckFinding check_long_context(const TextSubject& subject) {
  const int64_t context = subject.model.info().context_length;
  int64_t total = context > 0 ? context : kQuickContext;
  if (subject.options.quick) total = std::min(total, kQuickContext);
  std::string refusal;
  const auto start = std::chrono::steady_clock::now();
  for (; total >= kSmallestContext; total /= 2) {
    const auto prompt = static_cast<size_t>(total - kLongAnswer);
    GenerateRequest request = subject.request(subject.filler(prompt), kLongAnswer, "long");
    request.eos_token_ids.clear();
    try {
      const TokenRun run = subject.run_one(std::move(request));
      for (const TokenEvent& token : run.tokens) {
        if (!std::isfinite(token.logprob)) return CheckFinding::failed("a log-probability is not finite");
      }
      if (run.tokens.size() != static_cast<size_t>(kLongAnswer)) {
        return CheckFinding::failed(
            fmt::format("the answer has {} instead of {}", counted(run.tokens.size(), "token"), kLongAnswer));
      }
      std::string found = fmt::format("{} tokens in {:.1f} s", total, seconds_since(start));
      if (total < context) found += fmt::format(" of a context of {}", context);
      if (!refusal.empty()) found += fmt::format(": {}", refusal);
      return CheckFinding::passed(found);
    } catch (const Error& error) {
      // A request whose keys and values do not fit is refused before it runs.
      if (error.kind() != ErrorKind::memory && error.kind() != ErrorKind::invalid) throw;
      refusal = error.what();
    }
  }
  return CheckFinding::failed(refusal.empty() ? fmt::format("a context of {} tokens", total) : refusal);
}

}  // namespace mlxk
