#include "backend/drafter.h"

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <chrono>

#include "base/elapsed.h"
#include "cpu/phase.h"

namespace mlxk {

namespace {

using Clock = std::chrono::steady_clock;

// The draft computes at most this many tokens of a text together with the first guess; a longer backlog is processed
// first, this many tokens a step.
constexpr size_t kAtOnce = 8, kCatchUp = 128;
// A guess that is accepted less often than this gains nothing, however cheap it is.
constexpr double kMinChance = 0.3;
// A new completion starts with an acceptance estimate that weighs as much as a few of its own tokens. Each token
// discounts a completion's own history by a twentieth, and the history of all completions hardly at all.
constexpr double kAssumed = 0.7, kAssumedWeight = 4, kTextMemory = 0.95, kLongMemory = 0.995;
// The cost of a guess counts as known after this many measurements.
constexpr int kTrials = 3;
// A draft that gains nothing is tried again after this many tokens, then after twice as many; in a new text after this
// many.
constexpr size_t kRetryAfter = 256, kRetryTexts = 8;
// An answer is not assumed to last longer than this many tokens, and the draft may spend at most this share of its time
// on catching up.
constexpr int64_t kExpectedAnswer = 256;
constexpr double kMaxCatchUp = 0.15;

Sampling greedily() {
  Sampling sampling;
  sampling.temperature = 0;
  return sampling;
}

/// The last `lengths` tokens of each row's text, int32 [rows, longest].
mx::array unseen(const std::vector<Drafter::Row*>& rows, const std::vector<int>& lengths) {
  const int longest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<int32_t> ids;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& text = rows[i]->completion->text();
    ids.insert(ids.end(), text.end() - lengths[i], text.end());
    ids.resize((i + 1) * static_cast<size_t>(longest));
  }
  return mx::array(ids.data(), {static_cast<int>(rows.size()), longest}, mx::int32);
}

/// The likeliest token after each row's last one, int32 [rows, 1], from logits [rows, length, vocab].
mx::array likeliest(const mx::array& logits, const std::vector<int>& lengths, const std::vector<Sampler*>& samplers) {
  const int rows = logits.shape(0), length = logits.shape(1), vocab = logits.shape(2);
  std::vector<SamplerRow> wanted;
  for (size_t i = 0; i < samplers.size(); ++i) {
    wanted.push_back({.sampler = samplers[i],
                      .row = static_cast<int>(i) * length + std::min(lengths[i], length) - 1,
                      .allowed = {}});
  }
  return token_ids(sample_rows(mx::reshape(logits, {rows * length, vocab}), std::move(wanted)));
}

}  // namespace

void Drafter::Tally::add(bool is_right, double memory) {
  right = memory * right + (is_right ? 1 : 0);
  all = memory * all + 1;
}

Drafter::Drafter(std::unique_ptr<Model> model, const Model& first, int most, bool always)
    : model_(std::move(model)),
      most_(most),
      vocab_(std::min(first.vocab_size(), model_->vocab_size())),
      share_(static_cast<double>(model_->weight_bytes()) /
             static_cast<double>(std::max<uint64_t>(1, first.weight_bytes()))),
      always_(always),
      layout_(*model_),
      longest_text_(layout_.stateless_tokens()),
      all_{kAssumed * kAssumedWeight, kAssumedWeight} {
  if (model_->context_length() > 0) longest_text_ = std::min(longest_text_, model_->context_length());
}

bool Drafter::insists() const { return always_ || trials_ < kTrials; }

uint64_t Drafter::kv_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [completion, state] : states_) bytes += state.cache.nbytes();
  return bytes;
}

Drafter::State& Drafter::state_of(const RunningCompletion& one) {
  const auto known = states_.find(&one);
  if (known != states_.end()) return known->second;
  // A model that rarely agrees is still tried on some texts.
  const double rate = ++begun_ % kRetryTexts == 0 ? kAssumed : all_.rate();
  State state{model_->make_cache(1), Sampler(greedily(), {}), {}, {rate * kAssumedWeight, kAssumedWeight}};
  state.tried_at = one.text().size();
  state.retry_after = kRetryAfter;
  return states_.emplace(&one, std::move(state)).first->second;
}

double Drafter::seconds(int rows, double step_seconds) const {
  return costs_.empty() ? share_ * step_seconds : costs_.of(rows);
}

std::vector<double> Drafter::chances(const RunningCompletion& one, double step_seconds) {
  if (!one.request().media.empty()) return {};  // the draft model accepts no images
  const size_t length = one.text().size();
  // The first token of an answer must not wait for this.
  if (length == one.request().prompt.size() || static_cast<int64_t>(length) + most_ > longest_text_) return {};
  State& state = state_of(one);
  if (state.unusable) return {};
  if (always_) return std::vector<double>(static_cast<size_t>(most_), 1);
  if (length - std::min(length, state.tried_at) >= state.retry_after) {
    state.tally = {kAssumed * kAssumedWeight, kAssumedWeight};
    state.tried_at = length;
    state.retry_after *= 2;
  }
  const double chance = state.tally.rate();
  if (chance < kMinChance) return {};
  const double missing = static_cast<double>(length - std::min(length, state.seen.size()));
  const double answer = step_seconds * static_cast<double>(std::min(one.tokens_left(), kExpectedAnswer));
  if (missing > kAtOnce && missing * catch_up_seconds_ > kMaxCatchUp * answer) return {};
  std::vector<double> all;
  for (double each = chance; static_cast<int>(all.size()) < most_; each *= chance) all.push_back(each);
  return all;
}

/// Whether the caches hold `text` up to the tokens that one pass computes together with the first guess.
bool Drafter::catch_up(State& state, const std::vector<int32_t>& text, size_t& budget) {
  auto& seen = state.seen;
  // At least the last token is computed.
  const auto common =
      static_cast<size_t>(std::mismatch(seen.begin(), seen.end(), text.begin(), text.end() - 1).first - seen.begin());
  const int wrong = static_cast<int>(seen.size() - common);
  const auto foreign = [&](int32_t id) { return id >= model_->vocab_size(); };
  state.unusable = std::any_of(text.begin() + static_cast<std::ptrdiff_t>(common), text.end(), foreign) ||
                   (wrong > 0 && !state.cache.can_trim(wrong));
  if (state.unusable) return false;
  if (wrong > 0) state.cache.trim(wrong);
  seen.resize(common);
  if (text.size() - common <= kAtOnce) return true;
  const size_t count = std::min(text.size() - common - 1, budget);
  if (count == 0) return false;
  const auto begun = Clock::now();
  {
    const PhaseScope phase(Phase::prefill);
    const mx::array ids(text.data() + common, {1, static_cast<int>(count)}, mx::int32);
    model_->forward({.ids = ids, .last_only = true}, state.cache);
    mx::eval(state.cache.arrays());
  }
  if (count == kCatchUp || catch_up_seconds_ == 0)
    catch_up_seconds_ = seconds_since(begun) / static_cast<double>(count);
  seen.insert(seen.end(), text.begin() + static_cast<std::ptrdiff_t>(common),
              text.begin() + static_cast<std::ptrdiff_t>(common + count));
  budget -= count;
  return text.size() - seen.size() <= kAtOnce;
}

void Drafter::guess(std::span<Row> rows, int count) {
  std::vector<Row*> ready;
  size_t budget = kCatchUp;
  for (Row& row : rows) {
    State& state = state_of(*row.completion);
    state.tried_at = row.completion->text().size();
    if (catch_up(state, row.completion->text(), budget)) ready.push_back(&row);
  }
  if (ready.empty() || count < 1) return model_->check_weights();

  const auto begun = Clock::now();
  std::vector<ModelCache*> caches;
  std::vector<State*> states;
  std::vector<Sampler*> samplers;
  std::vector<int> lengths;  // the unseen tokens of each
  for (const Row* row : ready) {
    states.push_back(&state_of(*row->completion));
    caches.push_back(&states.back()->cache);
    samplers.push_back(&states.back()->greedy);
    lengths.push_back(static_cast<int>(row->completion->text().size() - states.back()->seen.size()));
  }
  ModelCache batched;
  if (ready.size() > 1) batched = ModelCache::batch(caches);
  ModelCache& cache = ready.size() > 1 ? batched : *caches.front();

  mx::array ids = unseen(ready, lengths);
  std::vector<mx::array> guesses;  // [rows, 1] each
  for (int n = 0; n < count; ++n) {
    Inputs inputs{.ids = ids, .last_only = ids.shape(1) == 1};
    if (ids.shape(1) > 1) inputs.lengths = lengths;
    ids = likeliest(model_->forward(inputs, cache), lengths, samplers);
    mx::async_eval({ids});
    guesses.push_back(ids);
    lengths.assign(ready.size(), 1);
  }
  mx::eval(guesses);
  batched.unbatch();
  model_->check_weights();
  for (size_t i = 0; i < ready.size(); ++i) {
    auto& all = ready[i]->guesses;
    for (const mx::array& one : guesses) all.push_back(one.data<int32_t>()[i]);
    states[i]->seen = ready[i]->completion->text();
    states[i]->seen.insert(states[i]->seen.end(), all.begin(), all.end() - 1);
    all.erase(std::find_if(all.begin(), all.end(), [&](int32_t id) { return id >= vocab_; }), all.end());
  }
  costs_.add(static_cast<int>(ready.size()), seconds_since(begun) / count);
  ++trials_;
}

void Drafter::learn(const RunningCompletion& one, bool right) {
  state_of(one).tally.add(right, kTextMemory);
  all_.add(right, kLongMemory);
}

}  // namespace mlxk
