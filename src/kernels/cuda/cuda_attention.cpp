#include "kernels/cuda/cuda_attention.h"

#include <algorithm>
#include <map>

#include "kernels/cuda/counters.h"
#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/functions.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

constexpr int kRowsAtOnce = 64;  // MAX_ROWS of decode_attention.cu
constexpr int kMinTokens = 64;   // of a block, if there are enough blocks
constexpr int kMaxSplits = 64;   // as in decode_attention.cu

struct Row {
  void* keys;
  void* values;
  long long head_step;
  int tokens;
};

struct DecodeAttentionParams {
  const void* q;
  const void* k;
  const void* v;
  void* out;
  const void* frequencies;
  const void* q_norm;
  const void* k_norm;
  const void* sinks;
  void* parts;
  void* arrived;
  int heads, kv_heads, rope_dims, traditional;
  float norm_eps, rope_scale, scale, soft_cap;
  int window, keep, ring;
  Row rows[kRowsAtOnce];
};

/// The parameters of a launch, and the indices of its arrays among the inputs; -1: absent.
struct Job {
  int head_dim;
  float scale;
  std::vector<int> positions;
  bool traditional;
  float rope_scale, norm_eps, soft_cap;
  int window, keep, ring;
  size_t buffers;  // number of key buffers, from input 3 on; there are as many of values
  int frequencies = -1, q_norm = -1, k_norm = -1, sinks = -1;
};

void attend(CudaLaunches& launches, const Job& job, const Arrays& in, Arrays& outputs) {
  const mx::array& out = outputs[0];
  const int dim = job.head_dim, batch = in[0].shape(0);
  if (batch == 0) return;
  const auto data_at = [&](int place) { return place < 0 ? nullptr : cuda_data(in[static_cast<size_t>(place)]); };
  DecodeAttentionParams p{};
  p.frequencies = data_at(job.frequencies);
  p.q_norm = data_at(job.q_norm);
  p.k_norm = data_at(job.k_norm);
  p.sinks = data_at(job.sinks);
  p.heads = in[0].shape(2) / dim;
  p.kv_heads = in[1].shape(2) / dim;
  p.rope_dims = job.frequencies < 0 ? 0 : 2 * in[static_cast<size_t>(job.frequencies)].shape(0);
  p.traditional = job.traditional;
  p.norm_eps = job.norm_eps;
  p.rope_scale = job.rope_scale;
  p.scale = job.scale;
  p.soft_cap = job.soft_cap;
  p.window = job.window;
  p.keep = job.keep;
  p.ring = job.ring;
  std::vector<Row> rows;
  std::vector<size_t> buffer_of;
  for (size_t i = 0; i < job.buffers; ++i) {
    const mx::array &keys = in[3 + i], &values = in[3 + job.buffers + i];
    const int64_t head_step = int64_t{keys.shape(2)} * dim, row_step = head_step * p.kv_heads;
    const auto bytes = static_cast<int64_t>(keys.itemsize());
    for (int r = 0; r < keys.shape(0); ++r) {
      rows.push_back({static_cast<char*>(cuda_data(keys)) + r * row_step * bytes,
                      static_cast<char*>(cuda_data(values)) + r * row_step * bytes, head_step,
                      job.positions[rows.size()] + 1});
      buffer_of.push_back(i);
    }
  }
  int most = 1;
  for (const Row& row : rows) most = std::max(most, job.window > 0 ? std::min(row.tokens, job.window) : row.tokens);
  const bool tensor = in[0].dtype() != mx::float32 && dim <= 128;
  const int group = p.heads / p.kv_heads, at_once = std::min(group, tensor ? 8 : 4);
  const int blocks = p.kv_heads * ((group + at_once - 1) / at_once);
  // A multiprocessor runs two blocks at once, and each begins with work that does not depend on its share.
  const int side_by_side = blocks * std::min(batch, kRowsAtOnce);
  const int wanted = std::max(1, (batch == 1 ? 4 : 2) * cuda_device().multiprocessors / side_by_side);
  const int splits = std::clamp((most + kMinTokens - 1) / kMinTokens, 1, std::min(wanted, kMaxSplits));
  const int64_t parts_of_row = int64_t{blocks} * splits * at_once * (dim + 4);
  const mx::array parts = launches.scratch(static_cast<size_t>(batch * parts_of_row * 4));
  const mx::array& arrived = cuda_counters(batch * blocks);
  ArrayRefs reads(in.begin(), in.begin() + 3);  // without the buffers, which are written
  reads.insert(reads.end(), in.begin() + 3 + 2 * static_cast<std::ptrdiff_t>(job.buffers), in.end());
  const int norm_type = job.q_norm < 0 ? 0 : cuda_type(in[static_cast<size_t>(job.q_norm)].dtype());
  auto* function = cuda_function({cuda_source::common, cuda_source::decode_attention}, "decode_attention",
                                 {{"TYPE", cuda_type(in[0].dtype())},
                                  {"NORM_TYPE", norm_type},
                                  {"HEAD_DIM", dim},
                                  {"HEADS", at_once},
                                  {"TENSOR", tensor}});
  for (int first = 0; first < batch; first += kRowsAtOnce) {
    const int count = std::min(kRowsAtOnce, batch - first);
    const auto from_first = [&](const mx::array& a, int64_t row_bytes) {
      return static_cast<char*>(cuda_data(a)) + first * row_bytes;
    };
    const auto bytes = static_cast<int64_t>(out.itemsize());
    p.q = from_first(in[0], int64_t{p.heads} * dim * bytes);
    p.k = from_first(in[1], int64_t{p.kv_heads} * dim * bytes);
    p.v = from_first(in[2], int64_t{p.kv_heads} * dim * bytes);
    p.out = from_first(out, int64_t{p.heads} * dim * bytes);
    p.parts = from_first(parts, parts_of_row * 4);
    p.arrived = from_first(arrived, int64_t{blocks} * 4);
    std::copy_n(rows.begin() + first, count, p.rows);
    ArrayRefs writes{out, arrived};
    const auto last_row = static_cast<size_t>(first + count - 1);
    for (size_t i = buffer_of[static_cast<size_t>(first)]; i <= buffer_of[last_row]; ++i) {
      writes.insert(writes.end(), {in[3 + i], in[3 + job.buffers + i]});
    }
    const dim3 grid{static_cast<unsigned>(splits), static_cast<unsigned>(blocks), static_cast<unsigned>(count)};
    launches.launch(function, grid, 128, 0, p, reads, writes);
  }
}

bool same_norms(const std::optional<NormWeights>& a, const std::optional<NormWeights>& b) {
  if (!a && !b) return true;
  return a && b && !a->centred && !b->centred && a->eps == b->eps && a->weight.dtype() == b->weight.dtype() &&
         cuda_type(a->weight.dtype()) >= 0;
}

/// The angles of a position, in the device's memory; kept, because all layers and steps use the same few.
mx::array frequencies_of(const std::vector<float>& steps) {
  static auto* known = new std::map<std::vector<float>, mx::array>;
  constexpr size_t kMax = 64;
  if (known->size() > kMax) known->clear();
  const auto found = known->find(steps);
  if (found != known->end()) return found->second;
  // A copy on the device: arrays made by the host are in memory that both can access.
  mx::array made = mx::add(mx::array(steps.begin(), {static_cast<int>(steps.size())}, mx::float32), mx::array(0.0F));
  mx::eval(made);
  return known->emplace(steps, made).first->second;
}

}  // namespace

bool cuda_attends(const AttentionStep& step) {
  const int dim = step.head_dim;
  const bool plain = !step.reads && !step.rotary_positions && !step.query_scale && !step.mask &&
                     !step.post_rope_q_norm && !step.post_rope_k_norm && step.rotation.rows == 1 &&
                     step.rotation.axes.empty() && (step.value_dim == 0 || step.value_dim == dim);
  const bool one_each = step.q.shape(1) == 1 &&
                        std::all_of(step.lengths.begin(), step.lengths.end(), [](int count) { return count == 1; });
  return plain && one_each && (dim == 64 || dim == 128 || dim == 256) && step.k.shape(2) > 0 &&
         2 * step.rotation.pairs() <= dim && same_norms(step.q_norm, step.k_norm) && cuda_type(step.q.dtype()) >= 0 &&
         step.k.dtype() == step.q.dtype() && step.v.dtype() == step.q.dtype();
}

AttentionResult cuda_attention_step(AttentionStep step, const std::vector<mx::array>& keys,
                                    const std::vector<mx::array>& values) {
  Job job{step.head_dim,
          step.scale,
          std::move(step.positions),
          step.rotation.traditional,
          step.rotation.input_scale,
          step.q_norm ? step.q_norm->eps : 0,
          step.soft_cap,
          step.window,
          step.keep,
          step.ring ? step.window : 0,
          keys.size()};
  Arrays inputs{row_contiguous(step.q), row_contiguous(step.k), row_contiguous(step.v)};
  inputs.insert(inputs.end(), keys.begin(), keys.end());
  inputs.insert(inputs.end(), values.begin(), values.end());
  std::vector<mx::Shape> shapes{step.q.shape()};
  std::vector<mx::Dtype> types{step.q.dtype()};
  std::vector<std::pair<int, int>> aliases;
  // As on the CPU, several buffers are not results: later uses of them are ordered by the single stream.
  for (size_t i = 3; keys.size() == 1 && i < inputs.size(); ++i) {
    shapes.push_back(inputs[i].shape());
    types.push_back(inputs[i].dtype());
    aliases.emplace_back(i - 2, i);
  }
  const auto add = [&](const mx::array& a) {
    inputs.push_back(row_contiguous(a));
    return static_cast<int>(inputs.size()) - 1;
  };
  if (step.rotation.pairs() > 0) job.frequencies = add(frequencies_of(step.rotation.steps));
  if (step.q_norm) job.q_norm = add(step.q_norm->weight);
  if (step.k_norm) job.k_norm = add(step.k_norm->weight);
  if (step.sinks) job.sinks = add(mx::astype(*step.sinks, mx::float32));
  auto compute = [job = std::move(job)](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    attend(launches, job, in, out);
  };
  auto outputs = mx::array::make_arrays(std::move(shapes), types,
                                        cuda_op("CudaAttentionStep", std::move(compute), std::move(aliases)), inputs);
  if (keys.size() != 1) return {outputs[0], keys, values};
  return {outputs[0], {outputs[1]}, {outputs[2]}};
}

}  // namespace mlxk
