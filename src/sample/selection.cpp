#include "sample/selection.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu/features.h"

namespace mlxk {
namespace {

constexpr size_t kBlock = 256;
constexpr size_t kMassBlock = 4096;  // single-precision sums stay short
const float kInf = std::numeric_limits<float>::infinity();

int64_t signed_size(size_t n) { return static_cast<int64_t>(n); }

float largest_of(std::span<const float> x) { return cpu_kernels().row_largest(x.data(), signed_size(x.size())); }

using Thresholds = std::array<float, kThresholds>;  // descending

std::array<double, kThresholds> masses(std::span<const float> x, const float* weights, const Thresholds& thresholds) {
  std::array<double, kThresholds> sums{};
  for (size_t begin = 0; begin < x.size(); begin += kMassBlock) {
    Thresholds part;
    cpu_kernels().row_masses(x.data() + begin, weights ? weights + begin : nullptr,
                             signed_size(std::min(kMassBlock, x.size() - begin)), thresholds.data(), part.data());
    for (size_t j = 0; j < kThresholds; ++j) sums[j] += static_cast<double>(part[j]);
  }
  return sums;
}

size_t select(std::span<const float> x, const void* beside, float low, float high, float* values, void* others) {
  return static_cast<size_t>(
      cpu_kernels().row_select(x.data(), beside, signed_size(x.size()), low, high, values, others));
}

// Thresholds from `largest` down by up to `range`: in even steps, or with a wide range closer together at first.
Thresholds below(float largest, double range) {
  Thresholds thresholds{largest};
  for (size_t j = 1; j < kThresholds; ++j) {
    const double part = static_cast<double>(j) / kThresholds;
    const double distance = range >= 64 ? std::pow(range, part) : range * part;
    thresholds[j] = static_cast<float>(static_cast<double>(largest) - distance);
  }
  return thresholds;
}

}  // namespace

void Selection::read(std::span<const float> row) {
  row_ = row;
  all_ = true;
  total_.reset();
  block_largest_.clear();
  largest_ = -kInf;
  float poison = 0;
  for (size_t begin = 0; begin < row.size(); begin += kBlock) {
    const float most = largest_of(row.subspan(begin, std::min(kBlock, row.size() - begin)));
    block_largest_.push_back(most);
    if (std::isnan(most)) poison = most;
    largest_ = std::max(largest_, most);
  }
  largest_ += poison;
}

int32_t Selection::first_largest() const {
  const auto block = std::find(block_largest_.begin(), block_largest_.end(), largest_);
  if (block == block_largest_.end()) return 0;
  const auto begin = row_.begin() + (block - block_largest_.begin()) * signed_size(kBlock);
  return static_cast<int32_t>(std::find(begin, row_.end(), largest_) - row_.begin());
}

float Selection::total() {
  if (!total_) {
    weight_ = weigh(row_, largest_, 1);
    total_ = static_cast<float>(static_cast<double>(largest_) + std::log(weight_));
  }
  return *total_;
}

double Selection::weigh(std::span<const float> x, float largest, float scale) {
  weights_.resize(x.size());
  block_weights_.clear();
  double sum = 0;
  for (size_t begin = 0; begin < x.size(); begin += kBlock) {
    const auto size = signed_size(std::min(kBlock, x.size() - begin));
    block_weights_.push_back(
        cpu_kernels().row_weights(x.data() + begin, size, largest, scale, weights_.data() + begin));
    sum += static_cast<double>(block_weights_.back());
  }
  return sum;
}

std::vector<int32_t> Selection::likeliest(int count) {
  const size_t wanted = std::min(static_cast<size_t>(count), row_.size());
  std::vector<int32_t> ids;
  std::vector<float> logits;
  const float least = cutoff(row_, nullptr, largest_, static_cast<double>(wanted));
  gather(least, ids, logits);
  drop_ties(ids, logits, least, wanted, Ties::high_ids);
  return ids;
}

void Selection::filter(const Sampling& sampling, bool xtc) {
  if (sampling.top_p < 1) keep_top_p(sampling.top_p);
  if (sampling.min_p > 0) keep_min_p(sampling.min_p, sampling.min_tokens_to_keep);
  if (xtc) exclude_top_choices(sampling.xtc_threshold, sampling.xtc_special_tokens);
  if (sampling.top_k > 0) keep_largest(sampling.top_k, Ties::low_ids);
}

// The first of the filters: weights_ belong to the row.
void Selection::keep_top_p(float top_p) {
  keep_at_least(cutoff(row_, weights_.data(), largest_, static_cast<double>(top_p) * weight_));
}

// Both limits keep the likeliest, so one of them is the narrower.
void Selection::keep_min_p(float min_p, int min_tokens) {
  const float least = largest_ + std::log(min_p);
  const auto x = kept();
  if (min_tokens > 1 && std::count_if(x.begin(), x.end(), [&](float v) { return v >= least; }) < min_tokens) {
    keep_largest(min_tokens, Ties::high_ids);
  } else {
    keep_at_least(least);
  }
}

void Selection::exclude_top_choices(float threshold, const std::vector<int32_t>& special) {
  if (all_) keep_at_least(-kInf);
  const auto sum = static_cast<float>(weigh(logits_, largest_of(logits_), 1));
  float least = kInf;
  for (const float weight : weights_) {
    if (weight / sum > threshold) least = std::min(least, weight / sum);
  }
  size_t left = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    const bool removed =
        weights_[i] / sum > least && std::find(special.begin(), special.end(), ids_[i]) == special.end();
    ids_[left] = ids_[i];
    logits_[left] = logits_[i];
    left += removed ? 0 : 1;
  }
  ids_.resize(left);
  logits_.resize(left);
}

void Selection::keep_largest(int count, Ties ties) {
  const auto wanted = static_cast<size_t>(count);
  if (wanted >= kept().size()) return;
  const float least = cutoff(kept(), nullptr, largest_of(kept()), static_cast<double>(wanted));
  keep_at_least(least);
  drop_ties(ids_, logits_, least, wanted, ties);
}

// Keeps `count` of the values that are at least `least`: some of those equal to it are dropped.
void Selection::drop_ties(std::vector<int32_t>& ids, std::vector<float>& logits, float least, size_t count, Ties ties) {
  size_t surplus = ids.size() > count ? ids.size() - count : 0;
  size_t equal = static_cast<size_t>(std::count(logits.begin(), logits.end(), least));
  size_t left = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool tie = logits[i] == least;
    const bool removed = tie && surplus > 0 && (ties == Ties::high_ids || equal <= surplus);
    if (tie) --equal;
    if (removed) {
      --surplus;
      continue;
    }
    ids[left] = ids[i];
    logits[left++] = logits[i];
  }
  ids.resize(left);
  logits.resize(left);
}

// The row's values that are at least `least`.
void Selection::gather(float least, std::vector<int32_t>& ids, std::vector<float>& logits) const {
  size_t count = 0;
  for (size_t block = 0; block < block_largest_.size(); ++block) {
    if (block_largest_[block] < least) continue;
    if (ids.size() < count + kBlock) {
      ids.resize(count + kBlock);
      logits.resize(count + kBlock);
    }
    const size_t begin = block * kBlock, size = std::min(kBlock, row_.size() - begin);
    const size_t added = select(row_.subspan(begin, size), nullptr, least, kInf, &logits[count], &ids[count]);
    for (size_t i = count; i < count + added; ++i) ids[i] += static_cast<int32_t>(begin);
    count += added;
  }
  ids.resize(count);
  logits.resize(count);
}

void Selection::keep_at_least(float least) {
  if (all_) {
    gather(least, ids_, logits_);
    all_ = false;
    return;
  }
  const size_t count = select(logits_, ids_.data(), least, kInf, logits_.data(), ids_.data());
  ids_.resize(count);
  logits_.resize(count);
}

// The largest x such that the values of at least x have a total weight of at least `need`; -inf if all values have
// less. Without weights each counts 1. Every round tries several thresholds and continues between two of them.
float Selection::cutoff(std::span<const float> x, const float* weights, float largest, double need) {
  float least = -kInf;  // all candidates are at least this
  double range = 64;
  double above = 0;  // the weight of the values larger than all of x
  while (true) {
    const Thresholds thresholds = below(largest, range);
    const auto mass = masses(x, weights, thresholds);
    size_t j = 0;
    while (j < kThresholds && above + mass[j] < need) ++j;
    if (j == 0) return largest;
    const float end = thresholds[j - 1];
    if (j < kThresholds) least = thresholds[j];
    above += mass[j - 1];

    if (narrow_.size() < x.size()) {
      narrow_.resize(x.size());
      narrow_weights_.resize(x.size());
    }
    const size_t count = select(x, weights, std::max(least, std::numeric_limits<float>::lowest()), end, narrow_.data(),
                                narrow_weights_.data());
    if (count == 0) return least;
    x = std::span<const float>(narrow_).first(count);
    if (weights) weights = narrow_weights_.data();
    if (std::isinf(least)) least = *std::min_element(x.begin(), x.end());
    largest = largest_of(x);
    range = static_cast<double>(largest) - static_cast<double>(least);
  }
}

std::vector<int32_t> Selection::kept_ids() const {
  if (!all_) return ids_;
  std::vector<int32_t> ids(row_.size());
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

int32_t Selection::draw(float temperature, double uniform) {
  const auto x = kept();
  const float scale = std::clamp(1 / temperature, std::numeric_limits<float>::min(), std::numeric_limits<float>::max());
  double left = uniform * weigh(x, all_ ? largest_ : largest_of(x), scale);
  // Rounding may leave a rest after the last one; then the last one with a weight is chosen.
  size_t chosen = 0, block = 0;
  while (block + 1 < block_weights_.size() && left >= static_cast<double>(block_weights_[block])) {
    left -= static_cast<double>(block_weights_[block++]);
  }
  while (block > 0 && block_weights_[block] == 0) --block;
  const size_t end = std::min(x.size(), (block + 1) * kBlock);
  for (size_t i = block * kBlock; i < end && left >= 0; ++i) {
    if (weights_[i] == 0) continue;
    chosen = i;
    left -= static_cast<double>(weights_[i]);
  }
  return all_ ? static_cast<int32_t>(chosen) : ids_[chosen];
}

}  // namespace mlxk
