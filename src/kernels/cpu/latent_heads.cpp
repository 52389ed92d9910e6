#include "kernels/cpu/latent_heads.h"

#include <fmt/format.h>

#include <cstring>
#include <stdexcept>

#include "cpu/features.h"
#include "cpu/threads.h"
#include "kernels/cpu/mixture.h"
#include "kernels/cpu/ops.h"

namespace mlxk {
namespace {

/// y [tokens * heads, rows] = head i's matrix times x[token, i], x [tokens * heads, columns].
void multiply_heads(const ExpertStack& stack, const float* x, int64_t tokens, float* y, Phase phase) {
  std::vector<uint32_t> ids(static_cast<size_t>(tokens) * stack.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<uint32_t>(i % stack.size());
  multiply_chosen(stack, x, static_cast<int64_t>(ids.size()), ids.data(), 1, y, phase);
}

int64_t tokens_of(const mx::array& x) { return static_cast<int64_t>(x.shape(0)) * x.shape(1); }

}  // namespace

std::pair<mx::array, mx::array> cpu_latent_heads(const LatentHeads& h) {
  const ExpertStack& stack = stack_of(h.embed_q);
  const int heads = static_cast<int>(stack.size());
  const int rope = h.rope_dim, width = h.kv.shape(2), latent = width - rope;
  if (heads == 0 || stack[0].rows != latent || h.q.shape(2) != heads * (stack[0].columns + rope) ||
      2 * h.rotation.pairs() > rope) {
    throw std::invalid_argument(fmt::format("[latent heads] queries of {} and a latent of {} do not fit {} heads",
                                            h.q.shape(2), latent, heads));
  }
  auto compute = [embed_q = h.embed_q, eps = h.latent_norm.eps, rope, latent, rotation = h.rotation,
                  first = h.positions, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch q_copy, kv_copy, parts, mapped;
    const ExpertStack& stack = stack_of(embed_q);
    const int64_t length = in[0].shape(1), tokens = tokens_of(in[0]), heads = static_cast<int64_t>(stack.size());
    const int64_t plain = stack[0].columns, width = latent + rope;
    if (tokens == 0) return;
    const float *q = row_major(in[0], q_copy), *kv = row_major(in[1], kv_copy), *weight = in[2].data<float>();
    float *queries = out[0].data<float>(), *keys = out[1].data<float>();
    float *from = parts.floats(tokens * heads * plain), *to = mapped.floats(tokens * heads * latent);
    for (int64_t i = 0; i < tokens * heads; ++i) {
      std::memcpy(from + i * plain, q + i * (plain + rope), static_cast<size_t>(plain) * sizeof(float));
    }
    multiply_heads(stack, from, tokens, to, phase);
    std::optional<CosSinTable> turn;
    if (rotation.pairs() > 0) {
      turn = cos_sin_table(rotation, consecutive_positions(first, length), in[0].shape(0), length);
    }
    const auto& kernels = cpu_kernels();
    const auto rotated = [&](const float* x, int64_t token, float* y) {
      std::memcpy(y, x, static_cast<size_t>(rope) * sizeof(float));
      if (turn) kernels.rotate(y, turn->cosines(token), turn->sines(token), turn->pairs, rotation.traditional);
    };
    parallel_for(tokens, grain_of(4 * heads * width), [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        kernels.rms_norm(kv + t * width, weight, eps, latent, keys + t * width);
        rotated(kv + t * width + latent, t, keys + t * width + latent);
        for (int64_t i = t * heads; i < (t + 1) * heads; ++i) {
          std::memcpy(queries + i * width, to + i * latent, static_cast<size_t>(latent) * sizeof(float));
          rotated(q + i * (plain + rope) + plain, t, queries + i * width + latent);
        }
      }
    });
  };
  const mx::Shape shape{h.q.shape(0), h.q.shape(1), heads * width};
  const auto outputs =
      mx::array::make_arrays({shape, h.kv.shape()}, {mx::float32, mx::float32},
                             cpu_op("CpuLatentHeads", std::move(compute)), {h.q, h.kv, h.latent_norm.weight});
  return {outputs[0], outputs[1]};
}

mx::array cpu_head_matmul(const mx::array& x, const Packed& packed) {
  const ExpertStack& stack = stack_of(packed);
  const int heads = static_cast<int>(stack.size());
  if (heads == 0 || x.ndim() != 3 || x.shape(2) != heads * stack[0].columns) {
    throw std::invalid_argument(fmt::format("[heads] {} matrices do not fit {} numbers", heads, x.shape(-1)));
  }
  auto compute = [packed, phase = current_phase()](const Arrays& in, Arrays& out) {
    static Scratch copy;
    multiply_heads(stack_of(packed), row_major(in[0], copy), tokens_of(in[0]), out[0].data<float>(), phase);
  };
  const mx::Shape shape{x.shape(0), x.shape(1), heads * static_cast<int>(stack[0].rows)};
  return mx::array(shape, mx::float32, cpu_op("CpuHeadMatmul", std::move(compute)), {x});
}

}  // namespace mlxk
