#include "sample/penalties.h"

#include <mlx/ops.h>

#include <algorithm>
#include <vector>

#include "kernels/cpu_op.h"
#include "sample/dry.h"

namespace mlxk {
namespace mx = mlx::core;
namespace {

float repetition_factor(const Sampling& sampling) {
  return sampling.repetition_penalty == 0 ? 1 : sampling.repetition_penalty;  // 0 is mlx-lm's "off"
}

}  // namespace

void penalise(const Sampling& sampling, std::span<const int32_t> history, std::span<float> logits) {
  for (const auto& [id, value] : sampling.logit_bias) logits[static_cast<size_t>(id)] += value;
  const auto window = [&](int size) {
    const auto wanted = static_cast<size_t>(size);
    return size == 0 || wanted >= history.size() ? history : history.last(wanted);
  };
  // A token seen twice is lowered once by the first two penalties, twice by the third.
  const auto lower_once = [&](std::span<const int32_t> ids, auto lowered) {
    std::vector<int32_t> distinct(ids.begin(), ids.end());
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (const int32_t id : distinct) {
      float& logit = logits[static_cast<size_t>(id)];
      logit = lowered(logit);
    }
  };
  if (const float factor = repetition_factor(sampling); factor != 1) {
    lower_once(window(sampling.repetition_context_size), [&](float x) { return x < 0 ? x * factor : x / factor; });
  }
  if (sampling.presence_penalty != 0) {
    lower_once(window(sampling.presence_context_size), [&](float x) { return x - sampling.presence_penalty; });
  }
  if (sampling.frequency_penalty != 0) {
    for (const int32_t id : window(sampling.frequency_context_size)) {
      logits[static_cast<size_t>(id)] -= sampling.frequency_penalty;
    }
  }
  penalise_repetitions(sampling, history, logits);
}

Penalties::Penalties(const Sampling& sampling, std::span<const int32_t> prompt)
    : repetition_(repetition_factor(sampling)),
      presence_(sampling.presence_penalty),
      frequency_(sampling.frequency_penalty),
      repetition_size_(sampling.repetition_context_size),
      presence_size_(sampling.presence_context_size),
      frequency_size_(sampling.frequency_context_size) {
  if (!sampling.logit_bias.empty()) {
    std::vector<int32_t> ids;
    std::vector<float> values;
    for (const auto& [id, value] : sampling.logit_bias) {
      ids.push_back(id);
      values.push_back(value);
    }
    const int count = static_cast<int>(ids.size());
    bias_ids_ = mx::array(ids.begin(), {1, count}, mx::int32);
    bias_values_ = mx::array(values.begin(), {1, count}, mx::float32);
  }
  const auto use = [this](bool on, int size) {
    if (!on) return;
    active_ = true;
    unbounded_ = unbounded_ || size == 0;
    longest_ = std::max(longest_, size);
  };
  use(repetition_ != 1, repetition_size_);
  use(presence_ != 0, presence_size_);
  use(frequency_ != 0, frequency_size_);
  if (sampling.dry_multiplier != 0 && sampling.dry_penalty_last_n != 0) {
    dry_ = std::make_shared<const Sampling>(sampling);
    use(true, std::max(sampling.dry_penalty_last_n, 0));
  }
  if (!active_ || prompt.empty()) return;

  const size_t keep = unbounded_ ? prompt.size() : std::min(prompt.size(), static_cast<size_t>(longest_));
  const auto recent = prompt.last(keep);
  history_ = mx::array(recent.begin(), {1, static_cast<int>(keep)}, mx::int32);
}

mx::array Penalties::window(int size) const {
  const int length = history_->shape(1);
  if (size == 0 || size >= length) return *history_;
  return mx::slice(*history_, {0, length - size}, {1, length});
}

mx::array Penalties::apply(mx::array logits) const {
  if (bias_ids_) logits = mx::scatter_add_axis(logits, *bias_ids_, *bias_values_, -1);
  if (!active_ || !history_) return logits;
  if (repetition_ != 1) {
    const mx::array ids = window(repetition_size_);
    const mx::array seen = mx::take_along_axis(logits, ids, -1);
    const mx::array penalty(repetition_);
    const mx::array lowered =
        mx::where(mx::less(seen, mx::array(0.0F)), mx::multiply(seen, penalty), mx::divide(seen, penalty));
    logits = mx::put_along_axis(logits, ids, lowered, -1);
  }
  if (presence_ != 0) {  // a token seen twice is written twice with the same value
    const mx::array ids = window(presence_size_);
    const mx::array seen = mx::take_along_axis(logits, ids, -1);
    logits = mx::put_along_axis(logits, ids, mx::subtract(seen, mx::array(presence_)), -1);
  }
  if (frequency_ != 0) {  // a token seen twice is added to twice
    const mx::array ids = window(frequency_size_);
    logits = mx::scatter_add_axis(logits, ids, mx::full(ids.shape(), -frequency_), -1);
  }
  return dry_ ? apply_dry(logits) : logits;
}

// A step that libmlx has no operation for; it runs on the CPU's stream, wherever the rest of the chain runs.
mx::array Penalties::apply_dry(const mx::array& logits) const {
  auto compute = [sampling = dry_](const Arrays& in, Arrays& out) {
    static Scratch logits_storage, history_storage;
    const float* row = row_major(in[0], logits_storage);
    const std::span<float> result(out[0].data<float>(), in[0].size());
    std::copy_n(row, result.size(), result.begin());
    penalise_repetitions(*sampling, {row_major_int(in[1], history_storage), in[1].size()}, result);
  };
  return mx::array::make_arrays({logits.shape()}, {mx::float32}, cpu_op("DryPenalty", std::move(compute)),
                                {logits, *history_})
      .front();
}

void Penalties::append(const mx::array& token) {
  if (!active_) return;
  if (!history_) {
    history_ = token;
    return;
  }
  // Dropping the oldest token here keeps the next graph from growing with the answer.
  const bool full = !unbounded_ && history_->shape(1) >= longest_;
  history_ = mx::concatenate({full ? mx::slice(*history_, {0, 1}, {1, history_->shape(1)}) : *history_, token}, 1);
}

}  // namespace mlxk
