#include "sample/cpu_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "cpu/threads.h"
#include "kernels/cpu_op.h"
#include "sample/penalties.h"
#include "sample/selection.h"

namespace mlxk {
namespace {

// The indices of a step's outputs.
enum Output : size_t { kToken, kCheck, kLogprob, kTopTokens, kTopLogprobs };

/// A step's indices among the operation's inputs and outputs.
struct Place {
  int history = -1;  // the input; -1: none
  size_t outputs;    // the first
};

std::vector<int32_t> tokens_of(const mx::array& history) {
  std::vector<int32_t> tokens(history.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    tokens[i] = history.data<int32_t>()[static_cast<int64_t>(i) * history.strides(-1)];
  }
  return tokens;
}

void forbid_others(const std::vector<uint32_t>& allowed, std::span<float> logits) {
  const float forbidden = -std::numeric_limits<float>::infinity();
  for (size_t word = 0; word < allowed.size(); ++word) {
    const auto part = logits.subspan(word * 32, std::min<size_t>(32, logits.size() - word * 32));
    if (allowed[word] == 0) {
      std::fill(part.begin(), part.end(), forbidden);
      continue;
    }
    for (size_t i = 0; i < part.size(); ++i) {
      if (!((allowed[word] >> i) & 1U)) part[i] = forbidden;
    }
  }
}

void choose(const CpuStep& step, std::span<const float> row, const mx::array* history, mx::array* outputs) {
  // The threads keep them between steps.
  static thread_local std::vector<float> changed;
  static thread_local Selection selection;

  const Sampling& sampling = *step.sampling;
  if (history || !sampling.logit_bias.empty() || step.constrained) {
    changed.assign(row.begin(), row.end());
    penalise(sampling, history ? tokens_of(*history) : std::vector<int32_t>{}, changed);
    if (step.constrained) forbid_others(step.allowed, changed);
    row = changed;
  }

  selection.read(row);
  const bool greedy = sampling.temperature == 0;
  const float check = greedy && step.top_logprobs < 0 ? selection.largest() : selection.total();
  const bool usable = std::isfinite(check);
  int32_t token = 0;
  if (greedy) {
    token = selection.first_largest();
  } else if (usable) {
    selection.filter(sampling, step.xtc);
    token = selection.draw(sampling.temperature, step.uniform);
  }
  outputs[kToken].data<int32_t>()[0] = token;
  outputs[kCheck].data<float>()[0] = check;
  if (step.top_logprobs >= 0) outputs[kLogprob].data<float>()[0] = row[static_cast<size_t>(token)] - check;
  if (step.top_logprobs > 0) {
    const auto count = static_cast<int>(outputs[kTopTokens].size());
    std::vector<int32_t> top(outputs[kTopTokens].size());
    if (usable) top = selection.likeliest(count);
    for (size_t i = 0; i < top.size(); ++i) {
      outputs[kTopTokens].data<uint32_t>()[i] = static_cast<uint32_t>(top[i]);
      outputs[kTopLogprobs].data<float>()[i] = row[static_cast<size_t>(top[i])] - check;
    }
  }
}

}  // namespace

std::vector<Sample> cpu_sample(const mx::array& logits, std::vector<CpuStep> steps) {
  Arrays inputs{logits};
  std::vector<mx::Shape> shapes;
  std::vector<mx::Dtype> types;
  std::vector<Place> places;
  const auto add = [&](const mx::Shape& shape, mx::Dtype type) {
    shapes.push_back(shape);
    types.push_back(type);
  };
  for (CpuStep& step : steps) {
    places.push_back({step.history ? static_cast<int>(inputs.size()) : -1, shapes.size()});
    if (step.history) inputs.push_back(*step.history);
    step.history.reset();  // an operation that holds its input's array would keep the whole graph before it alive
    add({1, 1}, mx::int32);
    add({1, 1}, mx::float32);
    if (step.top_logprobs >= 0) add({1, 1}, mx::float32);
    if (step.top_logprobs <= 0) continue;
    const mx::Shape shape{1, std::min(step.top_logprobs, logits.shape(1))};
    add(shape, mx::uint32);
    add(shape, mx::float32);
  }
  std::vector<int> tops;
  for (const CpuStep& step : steps) tops.push_back(step.top_logprobs);
  auto compute = [steps = std::make_shared<const std::vector<CpuStep>>(std::move(steps)), places](const Arrays& in,
                                                                                                  Arrays& out) {
    static Scratch storage;
    const float* all = row_major(in[0], storage);
    const auto vocab = static_cast<size_t>(in[0].shape(1));
    parallel_for(static_cast<int64_t>(steps->size()), 1, [&](int64_t begin, int64_t end, int) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        const CpuStep& step = (*steps)[i];
        const mx::array* history = places[i].history < 0 ? nullptr : &in[static_cast<size_t>(places[i].history)];
        choose(step, {all + static_cast<size_t>(step.row) * vocab, vocab}, history, &out[places[i].outputs]);
      }
    });
  };
  const Arrays out = mx::array::make_arrays(std::move(shapes), types, cpu_op("CpuSample", std::move(compute)), inputs);
  std::vector<Sample> samples;
  for (size_t i = 0; i < places.size(); ++i) {
    const auto first = out.begin() + static_cast<int64_t>(places[i].outputs);
    Sample& sample = samples.emplace_back(Sample{first[kToken], first[kCheck]});
    if (tops[i] >= 0) sample.logprob = first[kLogprob];
    if (tops[i] <= 0) continue;
    sample.top_tokens = first[kTopTokens];
    sample.top_logprobs = first[kTopLogprobs];
  }
  return samples;
}

}  // namespace mlxk
