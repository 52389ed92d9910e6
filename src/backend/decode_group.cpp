#include "backend/decode_group.h"

#include <mlx/memory.h>
#include <mlx/ops.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <optional>

namespace mlxk {

namespace {

// Growing caches leave buffers of every size behind; dropped now and then.
constexpr int64_t kStepsBetweenClears = 256;

bool contains(const std::vector<std::shared_ptr<Completion>>& all, const Completion* one) {
  return std::any_of(all.begin(), all.end(), [&](const auto& each) { return each.get() == one; });
}

}  // namespace

/// One token for each row, being computed.
struct DecodeGroup::Step {
  Step(std::vector<std::shared_ptr<Completion>> rows, mx::array logits)
      : rows(std::move(rows)), staying(this->rows.size()), logits(std::move(logits)) {}
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;
  /// Waits: libmlx's CPU thread writes into results, and rows' caches, that nobody holds any more.
  ~Step() {
    std::vector<mx::array> all{logits};
    for (const auto& sample : samples) {
      if (!sample) continue;
      for (const auto& array : sample->arrays()) all.push_back(array);
    }
    for (auto& array : all) {
      try {
        array.wait();
      } catch (const std::exception&) {
        // Whoever wanted these tokens has heard of it, or has ended.
      }
    }
  }

  std::vector<std::shared_ptr<Completion>> rows;
  size_t staying;  // of the rows, how many have not left
  mx::array logits;                            // [rows, 1, vocab]
  std::vector<std::optional<Sample>> samples;  // of each row; absent where it ended before its token was chosen
};

DecodeGroup::DecodeGroup(Model& model) : model_(model) {}

DecodeGroup::~DecodeGroup() = default;

void DecodeGroup::step(const std::vector<std::shared_ptr<Completion>>& running, const Sink& sink) {
  std::vector<std::shared_ptr<Completion>> rows;
  std::vector<mx::array> inputs;
  const Step* before = under_way_.get();
  for (size_t i = 0; before && i < before->rows.size(); ++i) {
    const auto& row = before->rows[i];
    if (!before->samples[i] || !row->goes_on() || !contains(running, row.get())) continue;
    rows.push_back(row);
    inputs.push_back(before->samples[i]->token);
  }
  for (const auto& one : running) {
    if (before && contains(before->rows, one.get())) continue;
    rows.push_back(one);
    inputs.push_back(one->first_input());
  }
  std::unique_ptr<Step> next;
  if (!rows.empty()) next = start(std::move(rows), inputs.size() == 1 ? inputs.front() : mx::concatenate(inputs, 0));
  for (size_t i = 0; before && i < before->rows.size(); ++i) {
    const auto& row = before->rows[i];
    if (!before->samples[i] || !contains(running, row.get())) continue;
    row->take(*before->samples[i], [&](const Event& event) { sink(*row, event); });
  }
  if (next) choose_tokens(*next, sink);
  under_way_ = std::move(next);
  if (++steps_ % kStepsBetweenClears == 0) mx::clear_cache();
}

std::unique_ptr<DecodeGroup::Step> DecodeGroup::start(std::vector<std::shared_ptr<Completion>> rows, const mx::array& ids) {
  const auto logits = model_.forward({.ids = ids, .last_only = true}, cache_of(rows));
  auto step = std::make_unique<Step>(std::move(rows), logits);
  mx::async_eval({logits});
  return step;
}

/// Once the tokens before are known: a grammar and the penalties need them.
void DecodeGroup::choose_tokens(Step& step, const Sink& sink) {
  const int rows = step.logits.shape(0), vocab = step.logits.shape(2);
  std::vector<SamplerRow> wanted;
  for (int i = 0; i < rows; ++i) {
    Completion& row = *step.rows[static_cast<size_t>(i)];
    if (row.ended()) continue;
    try {
      wanted.push_back(row.wanted(i, vocab));
    } catch (const std::exception& e) {
      row.fail(e.what(), [&](const Event& event) { sink(row, event); });
    }
  }
  step.samples.resize(step.rows.size());
  if (wanted.empty()) return;
  std::vector<mx::array> chosen;
  const auto samples = sample_rows(mx::reshape(step.logits, {rows, vocab}), wanted);
  for (size_t i = 0; i < samples.size(); ++i) {
    step.samples[static_cast<size_t>(wanted[i].row)] = samples[i];
    for (const auto& array : samples[i].arrays()) chosen.push_back(array);
  }
  mx::async_eval(chosen);
}

ModelCache& DecodeGroup::cache_of(const std::vector<std::shared_ptr<Completion>>& rows) {
  const bool same = std::equal(rows.begin(), rows.end(), joined_rows_.begin(), joined_rows_.end(),
                               [](const auto& row, const Completion* joined) { return row.get() == joined; });
  if (same) return joined_;
  part();
  if (rows.size() == 1) return rows.front()->cache();
  std::vector<ModelCache*> caches;
  for (const auto& row : rows) {
    caches.push_back(&row->cache());
    joined_rows_.push_back(row.get());
  }
  joined_ = ModelCache::join(caches);
  return joined_;
}

void DecodeGroup::part() {
  if (joined_rows_.empty()) return;
  joined_.part();
  joined_ = {};
  joined_rows_.clear();
}

void DecodeGroup::leave(const Completion& completion) {
  if (std::find(joined_rows_.begin(), joined_rows_.end(), &completion) != joined_rows_.end()) part();
  if (under_way_ && contains(under_way_->rows, &completion) && --under_way_->staying == 0) under_way_.reset();
}

}  // namespace mlxk
