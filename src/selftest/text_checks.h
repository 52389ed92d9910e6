#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chat/prepared_chat.h"
#include "json/json.h"
#include "selftest/check.h"
#include "selftest/selftest.h"
#include "serving/token_runs.h"
#include "worker/request.h"

namespace mlxk {

struct RenderOptions;

/// A text model under test. One thread.
struct TextSubject {
  Worker& worker;
  const ServedText& model;
  const SelftestOptions& options;
  SelftestFigures& figures;

  /// Whether answers are bit-identical, which the engine promises on a CPU.
  bool exact() const;
  /// The number of tokens of an answer that is compared with another.
  int64_t answer_tokens() const { return options.quick ? 12 : 48; }
  /// The prompt of one user message.
  PreparedChat chat(const std::string& text) const;
  PreparedChat chat(const Json& messages, const RenderOptions& render) const;
  /// A greedy request with log-probabilities, whose prompt is not in the cache of another scope.
  GenerateRequest request(std::vector<int32_t> prompt, int64_t max_tokens, const std::string& scope) const;
  /// `count` tokens of English text.
  std::vector<int32_t> filler(size_t count) const;
  std::vector<TokenRun> run(std::vector<GenerateRequest> requests) const;
  TokenRun run_one(GenerateRequest request) const;
  /// Why a wrong answer is not held against the model: "a base model", "a model of 76 MB"; empty: no reason.
  std::string excuse() const;
};

/// All checks of a text model, in their order.
void check_text_model(const TextSubject& subject, SelftestResult& result);

// Checks of the text (text_checks.cpp).
CheckFinding check_template(const TextSubject& subject);
CheckFinding check_stop_tokens(const TextSubject& subject);
CheckFinding check_streaming(const TextSubject& subject);
CheckFinding check_reasoning(const TextSubject& subject);
CheckFinding check_speed(const TextSubject& subject);

// Checks of the engine (engine_checks.cpp).
CheckFinding check_batch(const TextSubject& subject);
CheckFinding check_prefix_cache(const TextSubject& subject);
CheckFinding check_cut_prompts(const TextSubject& subject);
CheckFinding check_long_context(const TextSubject& subject);

// Checks of the answers (answer_checks.cpp).
CheckFinding check_json_schema(const TextSubject& subject);
CheckFinding check_plain_json(const TextSubject& subject);
CheckFinding check_tool_calls(const TextSubject& subject);
CheckFinding check_vision(const TextSubject& subject);

// Criteria of the checks.

/// Passes if two runs of one request are the same; without `exact` also if they first differ in two tokens of almost
/// equal probability.
CheckFinding same_answer(const TokenRun& whole, const TokenRun& other, bool exact);
/// The control token that `text` shows; empty: none.
std::string leaked_token(std::string_view text, const Tokenizer& tokenizer);
/// Passes if the pieces of a streamed text are whole characters and add up to `whole`.
CheckFinding same_text(const std::vector<std::string>& pieces, const std::string& whole);

}  // namespace mlxk
