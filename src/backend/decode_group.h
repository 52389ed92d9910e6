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

/// The completions of one model that decode together. Rows join and leave between two steps, and a row's bits do not
/// depend on the other rows. A step gives each row one token. With speculation, drafted tokens are verified in the same
/// pass and the accepted ones are given at once: the same tokens as without speculation. Worker thread.
class DecodeGroup {
 public:
  /// Receives an event of a completion.
  using Sink = std::function<void(const RunningCompletion& completion, const Event& event)>;

  /// A row with more than `speculative_tokens` tokens gets no drafts, because its caches could not be trimmed or the
  /// model would give different bits for several tokens at once. `drafter` drafts where that pays; null: none.
  DecodeGroup(Model& model, PromptLookup lookup, int64_t speculative_tokens,
              std::unique_ptr<Drafter> drafter = nullptr);
  DecodeGroup(const DecodeGroup&) = delete;
  DecodeGroup& operator=(const DecodeGroup&) = delete;
  ~DecodeGroup();

  /// Waits for the tokens of the previous step and starts the next one for `running` (prefilled, not ended; new ones
  /// start here). Without drafts the next step starts first, so that the device computes while events are handled.
  void step(const std::vector<std::shared_ptr<RunningCompletion>>& running, const Sink& sink);
  /// Forgets a completion that is in no later step. After the last one this waits for the step in flight.
  void leave(const RunningCompletion& completion);
  /// Whether a step is in flight.
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
  std::vector<const RunningCompletion*> batch_rows_;  // the rows of batch_; empty: no batch
  ModelCache batch_;                                  // their caches, batched
  std::map<const RunningCompletion*, NgramDrafter> ngram_drafters_;
  std::unique_ptr<Drafter> drafter_;
  StepCosts costs_;
  std::chrono::steady_clock::time_point committed_at_;  // when the last step's tokens were known
  int64_t steps_ = 0;
  uint64_t drafted_ = 0, accepted_ = 0;  // tokens
};

}  // namespace mlxk
