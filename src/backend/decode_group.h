#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "backend/drafter.h"
#include "backend/running_completion.h"
#include "backend/speculation.h"

namespace mlxk {

/// The completions of one model that decode together. Their rows join and leave between two steps, and a row's bits do
/// not depend on the others. A step gives each row one token; with speculation, guessed tokens are looked at in the
/// same pass, and those that the model chooses as well are given at once: the same tokens as without. Worker thread.
class DecodeGroup {
 public:
  /// Takes an event of a completion.
  using Sink = std::function<void(const RunningCompletion& completion, const Event& event)>;

  /// `speculative_tokens`: a row with more of them has no guesses, since its caches could not forget the last ones or
  /// the model would not give the same for several at once. `drafter`: guesses where that gains; null: none.
  DecodeGroup(Model& model, PromptLookup lookup, int64_t speculative_tokens,
              std::unique_ptr<Drafter> drafter = nullptr);
  DecodeGroup(const DecodeGroup&) = delete;
  DecodeGroup& operator=(const DecodeGroup&) = delete;
  ~DecodeGroup();

  /// Waits for the tokens of the step before and starts the next one of `running` (prefilled, not ended; those that are
  /// new begin): in the other order where nobody guesses, so that the device computes while events are handled.
  void step(const std::vector<std::shared_ptr<RunningCompletion>>& running, const Sink& sink);
  /// Forgets a completion that is in no later step. What is under way is waited for with the last of them.
  void leave(const RunningCompletion& completion);
  /// Whether a step is under way.
  bool busy() const { return in_flight_ != nullptr; }
  void add_facts(CacheFacts& facts) const;
  const Drafter* drafter() const { return drafter_.get(); }

 private:
  struct Row;
  struct Step;
  using Running = std::vector<std::shared_ptr<RunningCompletion>>;

  std::unique_ptr<Step> next_step(const Running& running);
  std::unique_ptr<Step> start(std::vector<Row> rows);
  void commit(Step& step, const Running& running, const Sink& sink);
  void choose_tokens(Step& step, const Sink& sink);
  struct Guesses;
  Guesses worthwhile_guesses(const Running& running, double gain);
  bool wants_guesses(const Running& running);
  void add_guesses(std::vector<Row>& rows);
  void add_drafts(std::vector<Row>& rows, int count);
  size_t most_guesses(const RunningCompletion& row, size_t rows) const;
  ModelCache& cache_of(const std::vector<Row>& rows);
  std::optional<mx::array> shifted_positions(const std::vector<Row>& rows, const ModelCache& cache, int length) const;
  void unbatch();

  Model& model_;
  const PromptLookup lookup_;
  const int64_t speculative_tokens_;
  std::unique_ptr<Step> in_flight_;
  std::vector<const RunningCompletion*> batch_rows_;  // of batch_; empty: there is none
  ModelCache batch_;                                  // their caches as one
  std::map<const RunningCompletion*, NgramDrafter> guessers_;
  std::unique_ptr<Drafter> drafter_;
  StepCosts costs_;
  std::chrono::steady_clock::time_point settled_;  // when the last step's tokens were known
  int64_t steps_ = 0;
  uint64_t drafted_ = 0, accepted_ = 0;  // tokens
};

}  // namespace mlxk
