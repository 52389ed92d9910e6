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

  /// The bits of an answer are promised: the engine runs on a CPU.
  bool exact() const;
  /// Tokens of an answer that is compared with another.
  int64_t answer_tokens() const { return options.quick ? 12 : 48; }
  /// The prompt of one message of the user.
  PreparedChat chat(const std::string& text) const;
  PreparedChat chat(const Json& messages, const RenderOptions& render) const;
  /// A greedy request with log-probabilities, whose prompt no other scope's cache supplies.
  GenerateRequest request(std::vector<int32_t> prompt, int64_t max_tokens, const std::string& scope) const;
  /// `count` tokens of English.
  std::vector<int32_t> filler(size_t count) const;
  std::vector<TokenRun> run(std::vector<GenerateRequest> requests) const;
  TokenRun run_one(GenerateRequest request) const;
  /// Why a wrong answer is not held against the model: "a base model", "a model of 76 MB"; empty: it is.
  std::string excuse() const;
};

/// All checks of a text model, in their order.
void check_text_model(const TextSubject& subject, SelftestResult& result);

// Of the text (text_checks.cpp).
CheckFinding check_template(const TextSubject& subject);
CheckFinding check_stop_tokens(const TextSubject& subject);
CheckFinding check_streaming(const TextSubject& subject);
CheckFinding check_reasoning(const TextSubject& subject);
CheckFinding check_speed(const TextSubject& subject);

// Of the engine (engine_checks.cpp).
CheckFinding check_batch(const TextSubject& subject);
CheckFinding check_prefix_cache(const TextSubject& subject);
CheckFinding check_cut_prompts(const TextSubject& subject);
CheckFinding check_long_context(const TextSubject& subject);

// Of what is answered (answer_checks.cpp).
CheckFinding check_json_schema(const TextSubject& subject);
CheckFinding check_plain_json(const TextSubject& subject);
CheckFinding check_tool_calls(const TextSubject& subject);
CheckFinding check_vision(const TextSubject& subject);

// What they judge by.

/// Whether two runs of one request are the same. Where bits are not promised, also if they part at two tokens that are
/// as good as equally likely.
CheckFinding same_answer(const TokenRun& whole, const TokenRun& other, bool exact);
/// The control token that `text` shows; empty: none.
std::string leaked_token(std::string_view text, const Tokenizer& tokenizer);
/// Whether pieces of a streamed text are whole characters and make up `whole`.
CheckFinding same_text(const std::vector<std::string>& pieces, const std::string& whole);

}  // namespace mlxk
