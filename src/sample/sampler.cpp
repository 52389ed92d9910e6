#include "sample/sampler.h"

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>

#include "kernels/cuda/cuda_sample.h"
#include "kernels/cuda/table.h"
#include "kernels/device.h"
#include "sample/cpu_sample.h"
#include "sample/filters.h"
#include "worker/event.h"
#include "worker/token_constraint.h"

namespace mlxk {
namespace mx = mlx::core;
namespace {

uint64_t fresh_seed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

int32_t largest_id(const Sampling& sampling, std::span<const int32_t> prompt) {
  int32_t largest = 0;
  const auto look_at = [&](int32_t id) {
    if (id < 0) throw Error(ErrorKind::internal, fmt::format("[sampling] token ids are not negative, got {}", id));
    largest = std::max(largest, id);
  };
  for (const int32_t id : prompt) look_at(id);
  for (const int32_t id : sampling.xtc_special_tokens) look_at(id);
  for (const auto& [id, bias] : sampling.logit_bias) look_at(id);
  return largest;
}

// bool [1, vocab]
mx::array allowed_tokens(const std::vector<uint32_t>& words, int vocab) {
  const auto bits = std::make_unique<bool[]>(static_cast<size_t>(vocab));
  for (int i = 0; i < vocab; ++i) bits[i] = (words[i / 32] >> (i % 32)) & 1U;
  return mx::array(bits.get(), {1, vocab}, mx::bool_);
}

// In [0, 1).
double unit(uint64_t random) { return static_cast<double>(random >> 11) * 0x1p-53; }

}  // namespace

std::vector<uint32_t> allowed_bits(TokenConstraint& constraint, int vocab) {
  std::vector<uint32_t> words((static_cast<size_t>(vocab) + 31) / 32);
  constraint.allowed(words);
  return words;
}

std::vector<mx::array> Sample::arrays() const {
  std::vector<mx::array> all{tokens, checks};
  for (const auto& extra : {logprob, top_tokens, top_logprobs}) {
    if (extra) all.push_back(*extra);
  }
  return all;
}

mx::array Sample::token() const { return tokens.shape(0) == 1 ? tokens : mx::slice(tokens, {row, 0}, {row + 1, 1}); }

bool Sample::finite() const {
  mx::eval(arrays());
  return std::isfinite(checks.data<float>()[row]);
}

int32_t Sample::value() const {
  mx::eval(arrays());
  return tokens.data<int32_t>()[row];
}

TokenEvent Sample::event() const {
  TokenEvent event{value()};
  if (logprob) event.logprob = logprob->data<float>()[0];
  if (top_tokens) {
    for (size_t i = 0; i < top_tokens->size(); ++i) {
      event.top.push_back({static_cast<int32_t>(top_tokens->data<uint32_t>()[i]), top_logprobs->data<float>()[i]});
    }
    std::sort(event.top.begin(), event.top.end(), [](const TokenLogprob& a, const TokenLogprob& b) {
      return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
    });
  }
  return event;
}

mx::array token_ids(std::span<const Sample> samples) {
  const mx::array& first = samples.front().tokens;
  bool are_all = static_cast<size_t>(first.shape(0)) == samples.size();
  for (size_t i = 0; i < samples.size(); ++i) {
    are_all = are_all && samples[i].tokens.id() == first.id() && samples[i].row == static_cast<int>(i);
  }
  if (are_all) return first;
  std::vector<mx::array> each;
  for (const Sample& sample : samples) each.push_back(sample.token());
  return mx::concatenate(each, 0);
}

Sampler::Sampler(const Sampling& sampling, std::span<const int32_t> prompt, bool one_operation)
    : sampling_(std::make_shared<const Sampling>(sampling)),
      one_operation_(one_operation),
      penalties_(sampling, prompt),
      largest_id_(largest_id(sampling, prompt)),
      random_state_(sampling.seed ? *sampling.seed : fresh_seed()) {}

Sample Sampler::sample(const mx::array& logits, TokenConstraint* constraint, int top_logprobs) {
  SamplerRow wanted{this, 0, {}, top_logprobs};
  if (constraint) wanted.allowed = allowed_bits(*constraint, logits.shape(-1));
  return sample_rows(logits, {std::move(wanted)}).front();
}

std::vector<Sample> sample_rows(const mx::array& raw, std::vector<SamplerRow> rows) {
  const mx::array logits = raw.dtype() == mx::float32 ? raw : mx::astype(raw, mx::float32);
  const bool is_cuda = &layer_ops() == &cuda_layer_ops();
  std::vector<std::optional<Sample>> samples(rows.size());
  std::vector<CpuStep> steps;
  std::vector<CudaSampleRow> plain;
  std::vector<size_t> of_steps, of_plain;  // the rows that these belong to
  for (size_t i = 0; i < rows.size(); ++i) {
    SamplerRow& wanted = rows[i];
    Sampler& sampler = *wanted.sampler;
    // A scatter does not check its indices.
    if (raw.ndim() != 2 || wanted.row >= raw.shape(0) || raw.shape(1) <= sampler.largest_id_) {
      throw Error(ErrorKind::internal,
                  fmt::format("[sampling] logits must be [more than {}, more than {}], got {} dims and {} values",
                              wanted.row, sampler.largest_id_, raw.ndim(), raw.size()));
    }
    const Sampling& sampling = *sampler.sampling_;
    if (is_cuda && sampler.is_plain(wanted)) {
      const bool draws = sampling.temperature != 0;
      if (draws) sampler.xtc_falls();
      const float uniform = draws ? static_cast<float>(unit(sampler.random())) : 0;
      plain.push_back({wanted.row, sampling.temperature, sampling.top_p, sampling.min_p, sampling.top_k, uniform});
      of_plain.push_back(i);
      continue;
    }
    if (!sampler.one_operation_) {
      const mx::array row = mx::slice(logits, {wanted.row, 0}, {wanted.row + 1, logits.shape(1)});
      samples[i] = sampler.chain(row, wanted);
      continue;
    }
    CpuStep step{sampler.sampling_, wanted.row, sampler.penalties_.history()};
    step.constrained = wanted.allowed.has_value();
    if (wanted.allowed) step.allowed = std::move(*wanted.allowed);
    if (sampling.temperature != 0) {
      step.xtc = sampler.xtc_falls();
      step.uniform = unit(sampler.random());
    }
    step.top_logprobs = wanted.top_logprobs;
    steps.push_back(std::move(step));
    of_steps.push_back(i);
  }
  if (!steps.empty()) {
    std::vector<Sample> chosen = cpu_sample(logits, std::move(steps));
    for (size_t i = 0; i < chosen.size(); ++i) samples[of_steps[i]] = std::move(chosen[i]);
  }
  if (!plain.empty()) {
    const CudaSamples chosen = cuda_sample(raw, std::move(plain));
    for (size_t i = 0; i < of_plain.size(); ++i) {
      samples[of_plain[i]] = Sample{chosen.tokens, chosen.checks, static_cast<int>(i)};
    }
  }
  std::vector<Sample> all;
  for (size_t i = 0; i < rows.size(); ++i) {
    all.push_back(std::move(*samples[i]));
    if (!rows[i].sampler->penalties_.none()) rows[i].sampler->penalties_.append(all.back().token());
  }
  return all;
}

/// Whether cuda_sample supports everything that it wants.
bool Sampler::is_plain(const SamplerRow& wanted) const {
  return !wanted.allowed && wanted.top_logprobs < 0 && penalties_.none() && sampling_->xtc_probability == 0 &&
         (sampling_->min_p == 0 || sampling_->min_tokens_to_keep <= 1);
}

Sample Sampler::chain(mx::array logits, const SamplerRow& wanted) {
  const int vocab = logits.shape(1), top_logprobs = wanted.top_logprobs;
  logits = penalties_.apply(logits);
  if (wanted.allowed) {
    logits =
        mx::where(allowed_tokens(*wanted.allowed, vocab), logits, mx::array(-std::numeric_limits<float>::infinity()));
  }

  const bool greedy = sampling_->temperature == 0;
  std::optional<mx::array> total, logprobs;
  if (!greedy || top_logprobs >= 0) {
    total = mx::logsumexp(logits, -1, /*keepdims=*/true);
    logprobs = mx::subtract(logits, *total);
  }
  const mx::array chosen = greedy ? mx::argmax(logits, -1, /*keepdims=*/true) : draw(*logprobs);
  // Both a maximum and a logsumexp pass a NaN on; both are -inf if nothing is allowed.
  Sample result{mx::astype(chosen, mx::int32), total ? *total : mx::max(logits, -1, /*keepdims=*/true)};
  if (top_logprobs >= 0) result.logprob = mx::take_along_axis(*logprobs, chosen, -1);
  if (top_logprobs > 0) {
    const int count = std::min(top_logprobs, vocab);
    const mx::array order = mx::argpartition(*logprobs, vocab - count, -1);
    result.top_tokens = mx::contiguous(mx::slice(order, {0, vocab - count}, {1, vocab}));
    result.top_logprobs = mx::take_along_axis(*logprobs, *result.top_tokens, -1);
  }
  return result;
}

mx::array Sampler::draw(const mx::array& logprobs) {
  const bool xtc = xtc_falls();
  const uint64_t key = random();
  mx::array kept = logprobs;
  if (sampling_->top_p < 1) kept = keep_top_p(kept, sampling_->top_p);
  if (sampling_->min_p > 0) kept = keep_min_p(kept, sampling_->min_p, sampling_->min_tokens_to_keep);
  if (xtc) kept = exclude_top_choices(kept, sampling_->xtc_threshold, sampling_->xtc_special_tokens);
  if (sampling_->top_k > 0) kept = keep_top_k(kept, sampling_->top_k);
  const mx::array tempered = mx::multiply(kept, mx::array(1.0F / sampling_->temperature));
  return mx::reshape(mx::random::categorical(tempered, -1, mx::random::key(key)), {1, 1});
}

// Takes a random number at every sampled step, so that a seed's draws do not depend on XTC's.
bool Sampler::xtc_falls() { return unit(random()) < static_cast<double>(sampling_->xtc_probability); }

// SplitMix64 (Steele, Lea, Flood 2014): a key per step without a chain of splits in the graph.
uint64_t Sampler::random() {
  uint64_t z = random_state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace mlxk
