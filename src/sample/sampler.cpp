#include "sample/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include <fmt/format.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

#include "sample/filters.h"
#include "worker/sampling_check.h"

namespace mlxk {
namespace mx = mlx::core;
namespace {

uint64_t fresh_seed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

int checked_vocab(const Sampling& sampling, int64_t vocab_size) {
  if (vocab_size < 1 || vocab_size > std::numeric_limits<int32_t>::max()) {
    throw Error(ErrorKind::invalid, fmt::format("[sampling] vocab_size must be a positive int32, got {}", vocab_size));
  }
  check_sampling(sampling, vocab_size);
  return static_cast<int>(vocab_size);
}

// words: bit i of word i / 32 is token i → bool [1, vocab]
mx::array unpack_mask(std::span<const uint32_t> words, int vocab) {
  const auto needed = (static_cast<size_t>(vocab) + 31) / 32;
  if (words.size() < needed) {
    throw Error(ErrorKind::internal,
                fmt::format("[sampling] a mask of {} words for a vocabulary of {}", words.size(), vocab));
  }
  mx::Shape shape{1, vocab};
  const auto bytes = std::make_unique<bool[]>(static_cast<size_t>(vocab));
  for (int i = 0; i < vocab; ++i) bytes[i] = (words[i / 32] >> (i % 32)) & 1U;
  return mx::array(bytes.get(), shape, mx::bool_);
}

}  // namespace

std::vector<mx::array> Sampled::outputs() const {
  std::vector<mx::array> all{token, check};
  for (const auto& extra : {logprob, top_tokens, top_logprobs}) {
    if (extra) all.push_back(*extra);
  }
  return all;
}

TokenEvent Sampled::read() const {
  mx::eval(outputs());
  const float value = check.data<float>()[0];
  if (!std::isfinite(value)) {
    throw Error(ErrorKind::bad_model, fmt::format("[sampling] NaN logits: no token can be chosen (got {})", value),
                "the weights are damaged, or overflow in the type they are computed in");
  }
  TokenEvent event{token.data<int32_t>()[0]};
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

Sampler::Sampler(const Sampling& sampling, std::span<const int32_t> prompt, int64_t vocab_size, int top_logprobs)
    : sampling_(sampling),
      vocab_size_(checked_vocab(sampling, vocab_size)),
      top_logprobs_(std::min(top_logprobs, vocab_size_)),
      penalties_(sampling, prompt, vocab_size),
      random_state_(sampling.seed ? *sampling.seed : fresh_seed()) {}

Sampled Sampler::next(const mx::array& raw, std::span<const uint32_t> allowed) {
  if (raw.size() != static_cast<size_t>(vocab_size_)) {
    throw Error(ErrorKind::internal,
                fmt::format("[sampling] {} logits for a vocabulary of {}", raw.size(), vocab_size_));
  }
  mx::array logits = raw.ndim() == 2 ? raw : mx::reshape(raw, {1, vocab_size_});
  if (logits.dtype() != mx::float32) logits = mx::astype(logits, mx::float32);
  logits = penalties_.apply(logits);
  if (!allowed.empty()) {
    logits = mx::where(unpack_mask(allowed, vocab_size_), logits, mx::array(-std::numeric_limits<float>::infinity()));
  }

  const bool greedy = sampling_.temperature == 0;
  std::optional<mx::array> total, logprobs;
  if (!greedy || top_logprobs_ >= 0) {
    total = mx::logsumexp(logits, -1, /*keepdims=*/true);  // [1, 1]
    logprobs = mx::subtract(logits, *total);
  }
  const mx::array chosen = greedy ? mx::argmax(logits, -1) : draw(*logprobs);  // uint32 [1]
  // Both a maximum and a logsumexp hand a NaN on; without a usable token both are infinite.
  Sampled result{mx::astype(chosen, mx::int32), total ? mx::reshape(*total, {1}) : mx::max(logits, -1), {}, {}, {}};
  if (top_logprobs_ >= 0) {
    result.logprob = mx::reshape(mx::take_along_axis(*logprobs, mx::reshape(chosen, {1, 1}), -1), {1});
  }
  if (top_logprobs_ > 0) {
    mx::array top = mx::argpartition(*logprobs, vocab_size_ - top_logprobs_, -1);
    top = mx::slice(top, {0, vocab_size_ - top_logprobs_}, {1, vocab_size_});
    result.top_logprobs = mx::flatten(mx::take_along_axis(*logprobs, top, -1));
    // A copy: a slice would keep the whole vocabulary's order alive.
    result.top_tokens = mx::contiguous(mx::flatten(top));
  }
  penalties_.append(result.token);
  return result;
}

mx::array Sampler::draw(const mx::array& logprobs) {
  // Both numbers are taken at every step, so that a seed's draws do not depend on how XTC falls.
  const uint64_t coin = random();
  const uint64_t key = random();
  mx::array kept = logprobs;
  if (sampling_.top_p < 1) kept = keep_top_p(kept, sampling_.top_p);
  if (sampling_.min_p > 0) kept = keep_min_p(kept, sampling_.min_p, sampling_.min_tokens_to_keep);
  if (static_cast<double>(coin >> 11) * 0x1p-53 < sampling_.xtc_probability) {
    kept = exclude_top_choices(kept, sampling_.xtc_threshold, sampling_.xtc_special_tokens);
  }
  if (sampling_.top_k > 0) kept = keep_top_k(kept, sampling_.top_k);
  return mx::random::categorical(mx::multiply(kept, mx::array(1.0F / sampling_.temperature)), -1,
                                 mx::random::key(key));
}

// SplitMix64 (Steele, Lea, Flood 2014): a key per step without a chain of splits in the graph.
uint64_t Sampler::random() {
  uint64_t z = random_state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace mlxk
