#include "backend/decode_group.h"

#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "kernels/cpu_op.h"

namespace mlxk {

namespace {

// Growing caches leave free buffers of every size behind; they are dropped from time to time.
constexpr int64_t kStepsBetweenClears = 256;

// The most positions in a step with drafts; a step with more rows has none.
constexpr size_t kMaxPositions = 64;
// The expected speed-up that makes drafting worthwhile, compared with one token a step. The first draft must also pay
// for waiting for the current step.
constexpr double kGain = 1.03, kGainAtFirst = 1.1;
// The cost of a draft model is known less well. One step in this many is run without its drafts, so that the cost of a
// plain step is measured again.
constexpr double kGainOfDraft = 1.1;
constexpr int64_t kStepsOfRound = 64, kPlainOfRound = 4;

bool contains(const std::vector<std::shared_ptr<RunningCompletion>>& all, const RunningCompletion* one) {
  return std::any_of(all.begin(), all.end(), [&](const auto& each) { return each.get() == one; });
}

}  // namespace

/// A completion's row in a step. Its `guesses` follow its input.
struct DecodeGroup::Row {
  std::shared_ptr<RunningCompletion> completion;
  std::optional<Sample> input = {};  // may not be computed yet; absent: the completion's last token
  std::vector<int32_t> guesses = {};
  bool drafted = false;               // the guesses are from the draft model
  std::optional<size_t> at = 0;       // the position whose token is chosen next; absent: none
  std::optional<Sample> sample = {};  // the sample of that position, once chosen
};

/// A step in flight: one or more tokens for each row.
struct DecodeGroup::Step {
  Step(std::vector<Row> rows, mx::array logits)
      : rows(std::move(rows)), staying(this->rows.size()), logits(std::move(logits)) {}
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  /// Waits, because libmlx's CPU thread writes into results and into rows' caches even if nobody holds them any more.
  ~Step() {
    std::vector<mx::array> all{logits};
    for (const Row& row : rows) {
      if (!row.sample) continue;
      for (const auto& array : row.sample->arrays()) all.push_back(array);
    }
    for (auto& array : all) {
      try {
        array.wait();
      } catch (const std::exception&) {
        // Whoever wanted these tokens was already told, or the completion has ended.
      }
    }
  }
  bool has(const RunningCompletion* one) const {
    return std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return row.completion.get() == one; });
  }
  int length() const { return logits.shape(1); }  // positions of each row
  int positions() const { return static_cast<int>(rows.size()) * length(); }

  std::vector<Row> rows;
  size_t staying;      // the number of rows that have not left
  mx::array logits;    // [rows, length, vocab]
  bool ahead = false;  // started before the tokens of the previous step were known
};

/// Which drafts a step uses, and at most how many for each row.
struct DecodeGroup::Guesses {
  enum class By { none, lookup, drafter } by = By::none;
  int count = 0;
};

DecodeGroup::DecodeGroup(Model& model, PromptLookup lookup, int64_t speculative_tokens,
                         std::unique_ptr<Drafter> drafter)
    : model_(model),
      // On a GPU the bits of drafted tokens would differ from those of one token a step.
      lookup_(lookup == PromptLookup::automatic && !cpu_is_default() ? PromptLookup::off : lookup),
      speculative_tokens_(speculative_tokens),
      drafter_(std::move(drafter)) {}

DecodeGroup::~DecodeGroup() = default;

void DecodeGroup::step(const Running& running, const Sink& sink) {
  // A draft continues from tokens that are known.
  if (in_flight_ && (in_flight_->length() > 1 || wants_guesses(running)))
    commit(*std::exchange(in_flight_, nullptr), running, sink);
  std::unique_ptr<Step> next = next_step(running);
  if (in_flight_) commit(*in_flight_, running, sink);
  if (next) choose_tokens(*next, sink);
  in_flight_ = std::move(next);
  if (++steps_ % kStepsBetweenClears == 0) mx::clear_cache();
}

std::unique_ptr<DecodeGroup::Step> DecodeGroup::next_step(const Running& running) {
  std::vector<Row> rows;
  for (size_t i = 0; in_flight_ && i < in_flight_->rows.size(); ++i) {
    const Row& row = in_flight_->rows[i];
    if (!row.sample || !row.completion->goes_on() || !contains(running, row.completion.get())) continue;
    rows.push_back({row.completion, row.sample});
  }
  for (const auto& one : running) {
    if (one->ended() || (in_flight_ && in_flight_->has(one.get()))) continue;
    rows.push_back({one});
  }
  if (rows.empty()) return nullptr;
  if (!in_flight_) add_guesses(rows);
  auto step = start(std::move(rows));
  step->ahead = in_flight_ != nullptr;
  return step;
}

std::unique_ptr<DecodeGroup::Step> DecodeGroup::start(std::vector<Row> rows) {
  size_t longest = 0;
  for (const Row& row : rows) longest = std::max(longest, row.guesses.size());
  std::vector<Sample> chosen;  // rows that were also in the last step; they come first
  std::vector<int32_t> tokens;
  std::vector<int> lengths;
  for (const Row& row : rows) {
    lengths.push_back(static_cast<int>(row.guesses.size()) + 1);
    if (row.input) {
      chosen.push_back(*row.input);
      continue;
    }
    tokens.push_back(row.completion->text().back());
    tokens.insert(tokens.end(), row.guesses.begin(), row.guesses.end());
    tokens.resize((lengths.size() - chosen.size()) * (longest + 1));
  }
  std::vector<mx::array> ids;
  if (!chosen.empty()) ids.push_back(token_ids(chosen));
  if (!tokens.empty()) {
    const int length = static_cast<int>(longest) + 1;
    ids.push_back(mx::array(tokens.begin(), {static_cast<int>(tokens.size()) / length, length}, mx::int32));
  }
  Inputs inputs{.ids = ids.size() == 1 ? ids.front() : mx::concatenate(ids, 0), .last_only = longest == 0};
  if (longest > 0) inputs.lengths = lengths;
  ModelCache& cache = cache_of(rows);
  inputs.positions = shifted_positions(rows, cache, static_cast<int>(longest) + 1);
  const auto logits = model_.forward(inputs, cache);
  auto step = std::make_unique<Step>(std::move(rows), logits);
  mx::async_eval({logits});
  return step;
}

/// The positions of a step's tokens; nullopt if they equal those of the cache.
std::optional<mx::array> DecodeGroup::shifted_positions(const std::vector<Row>& rows, const ModelCache& cache,
                                                        int length) const {
  const auto is_shifted = [](const Row& row) { return row.completion->position_shift() != 0; };
  if (std::none_of(rows.begin(), rows.end(), is_shifted)) return std::nullopt;
  std::vector<int32_t> positions;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int first = cache.positions()[i] + rows[i].completion->position_shift();
    for (int at = 0; at < length; ++at) positions.push_back(first + at);
  }
  return mx::array(positions.begin(), {static_cast<int>(rows.size()), length}, mx::int32);
}

/// Hands out the tokens of a step: for each row the accepted guesses and one more token.
void DecodeGroup::commit(Step& step, const Running& running, const Sink& sink) {
  for (bool more = true; more;) {
    more = false;
    for (Row& row : step.rows) {
      if (!row.sample || !contains(running, row.completion.get())) continue;
      const Sample sample = *std::exchange(row.sample, std::nullopt);
      const size_t tokens = row.completion->text().size();
      row.completion->take(sample, [&](const Event& event) { sink(*row.completion, event); });
      if (lookup_ == PromptLookup::automatic && row.completion->text().size() > tokens) {
        ngram_drafters_[row.completion.get()].learn(row.completion->text());
      }
      const size_t at = *std::exchange(row.at, std::nullopt);
      if (row.completion->ended() || at == row.guesses.size()) continue;
      const bool right = row.completion->text().back() == row.guesses[at];
      if (row.drafted) drafter_->learn(*row.completion, right);
      if (!right) {
        unbatch();  // each row trims its own cache
        row.completion->cache().trim(static_cast<int>(row.guesses.size() - at));
        continue;
      }
      ++accepted_;
      row.completion->count_guesses(0, 1);
      row.at = at + 1;
      more = true;
    }
    if (more) choose_tokens(step, sink);
  }
  const auto now = std::chrono::steady_clock::now();
  // A step of one token that was not pipelined also includes the wait for the previous step.
  if (step.ahead || step.length() > 1)
    costs_.add(step.positions(), std::chrono::duration<double>(now - committed_at_).count());
  committed_at_ = now;
}

/// Grammars and penalties need the previous tokens, so this runs once those are known.
void DecodeGroup::choose_tokens(Step& step, const Sink& sink) {
  const int vocab = step.logits.shape(2);
  std::vector<Row*> choosing;
  std::vector<SamplerRow> wanted;
  for (size_t i = 0; i < step.rows.size(); ++i) {
    Row& row = step.rows[i];
    if (row.completion->ended() || row.sample || !row.at) continue;
    try {
      wanted.push_back(row.completion->wanted(static_cast<int>(i) * step.length() + static_cast<int>(*row.at), vocab));
      choosing.push_back(&row);
    } catch (const std::exception& e) {
      row.completion->fail(e.what(), [&](const Event& event) { sink(*row.completion, event); });
    }
  }
  if (wanted.empty()) return;
  std::vector<mx::array> chosen;
  const auto samples = sample_rows(mx::reshape(step.logits, {step.positions(), vocab}), wanted);
  for (size_t i = 0; i < samples.size(); ++i) {
    choosing[i]->sample = samples[i];
    for (const auto& array : samples[i].arrays()) chosen.push_back(array);
  }
  mx::async_eval(chosen);
}

size_t DecodeGroup::most_guesses(const RunningCompletion& row, size_t rows) const {
  const int64_t tokens = static_cast<int64_t>(row.text().size());
  const int64_t most = std::min(row.tokens_left() - 1, speculative_tokens_ - tokens);
  return static_cast<size_t>(std::clamp<int64_t>(most, 0, static_cast<int64_t>(kMaxPositions / rows) - 1));
}

/// The draft lengths with the highest expected tokens a second, if that is at least `gain` times the speed of one token
/// a step. While a step is in flight, the looked-up tokens must also match its tokens.
DecodeGroup::Guesses DecodeGroup::worthwhile_guesses(const Running& running, double gain) {
  const int rows = static_cast<int>(running.size());
  const double step_seconds = costs_.of(rows);
  std::vector<std::vector<double>> looked_up, drafted;
  for (const auto& one : running) {
    const size_t most = most_guesses(*one, running.size());
    const auto add = [&](std::vector<std::vector<double>>& all, std::vector<double> chances) {
      chances.resize(std::min(chances.size(), most));
      all.push_back(std::move(chances));
    };
    const size_t is_in_flight = in_flight_ && in_flight_->has(one.get()) ? 1 : 0;
    if (lookup_ == PromptLookup::automatic)
      add(looked_up, ngram_drafters_[one.get()].chances(one->text(), is_in_flight));
    if (drafter_) add(drafted, drafter_->chances(*one, step_seconds));
  }
  if (drafter_ && drafter_->insists()) {
    size_t longest = 0;
    for (const auto& row : drafted) longest = std::max(longest, row.size());
    if (longest > 0) return {Guesses::By::drafter, static_cast<int>(longest)};
  }
  const StepPlan lookup = plan_step(looked_up, costs_, gain);
  StepPlan draft;
  if (!drafted.empty() && steps_ % kStepsOfRound >= kPlainOfRound) {
    draft = plan_step(drafted, costs_, std::max(gain, kGainOfDraft), drafter_->seconds(rows, step_seconds));
  }
  if (draft.length > 1 && (lookup.length == 1 || draft.rate > lookup.rate))
    return {Guesses::By::drafter, draft.length - 1};
  if (lookup.length > 1) return {Guesses::By::lookup, lookup.length - 1};
  return {};
}

/// Whether drafting is worth waiting for the step in flight.
bool DecodeGroup::wants_guesses(const Running& running) {
  if ((lookup_ == PromptLookup::off && !drafter_) || running.size() > kMaxPositions) return false;
  if (lookup_ == PromptLookup::on) {
    return std::any_of(running.begin(), running.end(),
                       [&](const auto& one) { return most_guesses(*one, running.size()) > 0; });
  }
  return worthwhile_guesses(running, kGainAtFirst).count > 0;
}

void DecodeGroup::add_guesses(std::vector<Row>& rows) {
  if ((lookup_ == PromptLookup::off && !drafter_) || rows.size() > kMaxPositions) return;
  Running running;
  for (const Row& row : rows) running.push_back(row.completion);
  Guesses wanted = worthwhile_guesses(running, kGain);
  const auto ngram_draft = [&](const Row& row) {
    return ngram_drafters_[row.completion.get()].guess(row.completion->text()).tokens;
  };
  if (lookup_ == PromptLookup::on &&
      std::any_of(rows.begin(), rows.end(), [&](const Row& row) { return !ngram_draft(row).empty(); })) {
    wanted = {Guesses::By::lookup, NgramDrafter::kMax};
  }
  if (wanted.by == Guesses::By::drafter) add_drafts(rows, wanted.count);
  if (wanted.by == Guesses::By::lookup) {
    for (Row& row : rows) row.guesses = ngram_draft(row);
  }
  for (Row& row : rows) {
    const size_t most = std::min(most_guesses(*row.completion, rows.size()), static_cast<size_t>(wanted.count));
    row.guesses.resize(std::min(row.guesses.size(), most));
    drafted_ += row.guesses.size();
    row.completion->count_guesses(static_cast<int64_t>(row.guesses.size()), 0);
  }
}

void DecodeGroup::add_drafts(std::vector<Row>& rows, int count) {
  const auto begun = std::chrono::steady_clock::now();
  std::vector<Drafter::Row> asked;
  std::vector<Row*> asking;
  for (Row& row : rows) {
    if (drafter_->chances(*row.completion, costs_.of(static_cast<int>(rows.size()))).empty()) continue;
    asked.push_back({row.completion.get()});
    asking.push_back(&row);
  }
  drafter_->guess(asked, count);
  for (size_t i = 0; i < asked.size(); ++i) {
    asking[i]->guesses = std::move(asked[i].guesses);
    asking[i]->drafted = true;
  }
  committed_at_ += std::chrono::steady_clock::now() - begun;  // the step's own time is measured from here
}

void DecodeGroup::add_facts(CacheFacts& facts) const {
  facts.drafted_tokens += drafted_;
  facts.accepted_tokens += accepted_;
  if (drafter_) facts.kv_bytes += drafter_->kv_bytes();
}

ModelCache& DecodeGroup::cache_of(const std::vector<Row>& rows) {
  const bool same =
      std::equal(rows.begin(), rows.end(), batch_rows_.begin(), batch_rows_.end(),
                 [](const Row& row, const RunningCompletion* batched) { return row.completion.get() == batched; });
  if (same) return batch_;
  unbatch();
  if (rows.size() == 1) return rows.front().completion->cache();
  std::vector<ModelCache*> caches;
  for (const Row& row : rows) {
    caches.push_back(&row.completion->cache());
    batch_rows_.push_back(row.completion.get());
  }
  batch_ = ModelCache::batch(caches);
  return batch_;
}

void DecodeGroup::unbatch() {
  if (batch_rows_.empty()) return;
  batch_.unbatch();
  batch_ = {};
  batch_rows_.clear();
}

void DecodeGroup::leave(const RunningCompletion& completion) {
  ngram_drafters_.erase(&completion);
  if (drafter_) drafter_->forget(completion);
  if (std::find(batch_rows_.begin(), batch_rows_.end(), &completion) != batch_rows_.end()) unbatch();
  if (in_flight_ && in_flight_->has(&completion) && --in_flight_->staying == 0) in_flight_.reset();
}

}  // namespace mlxk
