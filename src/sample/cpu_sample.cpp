#include "sample/cpu_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "kernels/cpu_op.h"
#include "sample/penalties.h"
#include "sample/selection.h"

namespace mlxk {
namespace {

// Where the outputs stand.
enum Output : size_t { kToken, kCheck, kLogprob, kTopTokens, kTopLogprobs };

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

void choose(const CpuStep& step, const Arrays& inputs, Arrays& outputs) {
  // libmlx's CPU thread keeps them from step to step.
  static thread_local Scratch storage;
  static thread_local std::vector<float> changed;
  static thread_local Selection selection;

  std::span<const float> row(row_major(inputs[0], storage), inputs[0].size());
  const Sampling& sampling = *step.sampling;
  if (inputs.size() > 1 || !sampling.logit_bias.empty() || step.constrained) {
    changed.assign(row.begin(), row.end());
    penalise(sampling, inputs.size() > 1 ? tokens_of(inputs[1]) : std::vector<int32_t>{}, changed);
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

Sample cpu_sample(const mx::array& logits, CpuStep step) {
  const int top = step.top_logprobs;
  std::vector<mx::Shape> shapes{{1, 1}, {1, 1}};
  std::vector<mx::Dtype> types{mx::int32, mx::float32};
  if (top >= 0) {
    shapes.push_back({1, 1});
    types.push_back(mx::float32);
  }
  if (top > 0) {
    const mx::Shape shape{1, std::min(top, logits.shape(1))};
    shapes.insert(shapes.end(), {shape, shape});
    types.insert(types.end(), {mx::uint32, mx::float32});
  }
  Arrays inputs{logits};
  if (step.history) inputs.push_back(*step.history);
  step.history.reset();  // an operation that held its input's array would hold the whole graph before it
  auto compute = [step = std::make_shared<const CpuStep>(std::move(step))](const Arrays& in, Arrays& out) {
    choose(*step, in, out);
  };
  const Arrays out = mx::array::make_arrays(std::move(shapes), types, cpu_op("CpuSample", std::move(compute)), inputs);
  Sample sample{out[kToken], out[kCheck], {}, {}, {}};
  if (top >= 0) sample.logprob = out[kLogprob];
  if (top > 0) {
    sample.top_tokens = out[kTopTokens];
    sample.top_logprobs = out[kTopLogprobs];
  }
  return sample;
}

}  // namespace mlxk
