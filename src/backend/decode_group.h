#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "backend/completion.h"

namespace mlxk {

/// The completions of one model that decode together, one token each a step. Their rows join and leave between two steps,
/// and a row's bits do not depend on the others. Worker thread.
class DecodeGroup {
 public:
  /// Takes an event of a completion.
  using Sink = std::function<void(const Completion& completion, const Event& event)>;

  explicit DecodeGroup(Model& model);
  DecodeGroup(const DecodeGroup&) = delete;
  DecodeGroup& operator=(const DecodeGroup&) = delete;
  ~DecodeGroup();

  /// Starts the next step of `running` (prefilled, not ended; those that are new begin), then waits for the tokens of the
  /// step before it: the device computes while events are handled.
  void step(const std::vector<std::shared_ptr<Completion>>& running, const Sink& sink);
  /// Forgets a completion that is in no later step. What is under way is waited for with the last of them.
  void leave(const Completion& completion);
  /// Whether a step is under way.
  bool busy() const { return under_way_ != nullptr; }

 private:
  struct Step;

  std::unique_ptr<Step> start(std::vector<std::shared_ptr<Completion>> rows, const mx::array& ids);
  void choose_tokens(Step& step, const Sink& sink);
  ModelCache& cache_of(const std::vector<std::shared_ptr<Completion>>& rows);
  void part();

  Model& model_;
  std::unique_ptr<Step> under_way_;
  std::vector<const Completion*> joined_rows_;  // of joined_; empty: there is none
  ModelCache joined_;                           // their caches as one
  int64_t steps_ = 0;
};

}  // namespace mlxk
