#include "kernels/cpu/encoder_layer.h"

#include <algorithm>
#include <span>

#include "cpu/features.h"
#include "cpu/row_block.h"
#include "cpu/threads.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/packed_attention.h"
#include "kernels/cpu_op.h"

namespace mlxk {

namespace {

// Rows that a thread takes through a part of the layer at a time: enough to repay reading all weights, few enough that
// what lies between two products stays in the second-level cache.
// Queries and keys keep activations of 16 bits: what 8 bits cost a text's vector is mostly in its scores.
constexpr Phase kScores = Phase::encode;

constexpr int64_t kFewestRows = 24, kMostRows = 96;

/// One call of the operation. Every result is the same whichever of the two ways it is computed: with many rows each
/// thread takes some of them through several products, with few rows all threads share each product.
class Layer {
 public:
  Layer(const EncoderLayerOp& op, int activation, Phase phase, const float* weights[4], int64_t n)
      : op_(op),
        activation_(activation),
        phase_(phase),
        weights_(weights),
        n_(n),
        qkv_(cpu_kept_views(op.qkv, kScores)),
        out_(cpu_kept_views(op.out, phase)),
        mlp_(cpu_kept_views(op.mlp, phase)),
        hidden_(out_[0].rows),
        wide_(mlp_[0].rows) {}

  void run(const float* x, float* y) {
    static Scratch all;
    const int64_t width = qkv_[0].rows, kv_width = qkv_[1].rows;
    float* q = all.floats(n_ * 2 * (width + kv_width));
    float *k = q + n_ * width, *v = k + n_ * kv_width, *seen = v + n_ * kv_width;
    const int64_t rows = block_rows();
    if (rows > 0) {
      each_block(rows, [&](int64_t first, int64_t count, Room& room) {
        fill(room.block, qkv_[0], kScores, x + first * hidden_, count);
        float* const parts[] = {q, k, v};
        for (size_t i = 0; i < 3; ++i)
          room.block.multiply(qkv_[i], 0, qkv_[i].rows, parts[i] + first * qkv_[i].rows, qkv_[i].rows);
      });
    } else {
      float* const parts[] = {q, k, v};
      multiply(qkv_, x, n_, parts, kScores);
    }
    attend_whole(op_.lengths, op_.attended, q, k, v, width / op_.head_dim, kv_width / op_.head_dim, op_.head_dim,
                 op_.scale, seen);
    if (rows > 0) {
      each_block(rows, [&](int64_t first, int64_t count, Room& room) {
        rest_of_block(x + first * hidden_, seen + first * width, count, room, y + first * hidden_);
      });
    } else {
      rest_of_all(x, seen, y);
    }
  }

 private:
  /// A thread's own memory.
  struct Room {
    RowBlock block, inner;
    Scratch product, between, piece;
  };

  /// The rows of a block; 0: there are too few rows, or the matrices have no kept panels.
  int64_t block_rows() const {
    for (const auto views : {qkv_, out_, mlp_}) {
      for (const MatrixView& m : views) {
        if (!RowBlock::takes(m, m.kept_for)) return 0;
      }
    }
    const int64_t threads = kernel_threads();
    if (n_ < 2 * threads * kFewestRows) return 0;
    return std::clamp(n_ / (8 * threads) / 6 * 6, kFewestRows, kMostRows);  // the kernels' tiles have 6 rows or fewer
  }

  template <class Body>
  void each_block(int64_t rows, const Body& body) const {
    static std::vector<Room> rooms(static_cast<size_t>(kernel_threads()));
    parallel_for((n_ + rows - 1) / rows, 1, [&](int64_t begin, int64_t end, int thread) {
      for (int64_t b = begin; b < end; ++b)
        body(b * rows, std::min(rows, n_ - b * rows), rooms[static_cast<size_t>(thread)]);
    });
  }

  void fill(RowBlock& block, const MatrixView& m, Phase phase, const float* x, int64_t n) const {
    block.begin(m, phase, n);
    for (int64_t r = 0; r < n; ++r) block.set(r, x + r * m.columns, 0, m.columns);
  }

  /// y = norm(sum + residual), for each row; `sum` is overwritten.
  void norm_sum(float* sum, const float* residual, int64_t n, bool last, float* y) const {
    const NormWeights& norm = last ? op_.mlp_norm : op_.attention_norm;
    const float *weight = weights_[last ? 2 : 0], *bias = weights_[last ? 3 : 1];
    for (int64_t r = 0; r < n; ++r) {
      float* row = sum + r * hidden_;
      cpu_kernels().add(residual + r * hidden_, 1.0F, hidden_, row);
      if (norm.centred) {
        cpu_kernels().layer_norm(row, weight, bias, norm.eps, hidden_, y + r * hidden_);
      } else {
        cpu_kernels().rms_norm(row, weight, norm.eps, hidden_, y + r * hidden_);
      }
    }
  }

  void rest_of_block(const float* x, const float* seen, int64_t n, Room& room, float* y) const {
    float *product = room.product.floats(n * hidden_), *h = room.between.floats(n * hidden_);
    fill(room.block, out_[0], phase_, seen, n);
    room.block.multiply(out_[0], 0, hidden_, product, hidden_);
    norm_sum(product, x, n, false, h);
    fill(room.block, mlp_[0], phase_, h, n);
    room.inner.begin(mlp_[1], phase_, n);
    float* piece = room.piece.floats(n * RowBlock::kColumns);
    for (int64_t i = 0; i < wide_; i += RowBlock::kColumns) {
      const int64_t columns = std::min(RowBlock::kColumns, wide_ - i);
      room.block.multiply(mlp_[0], i, i + columns, piece, columns);
      cpu_kernels().activate(piece, n * columns, activation_, piece);
      for (int64_t r = 0; r < n; ++r) room.inner.set(r, piece + r * columns, i, columns);
    }
    room.inner.multiply(mlp_[1], 0, hidden_, product, hidden_);
    norm_sum(product, h, n, true, y);
  }

  void rest_of_all(const float* x, const float* seen, float* y) const {
    static Scratch sums, betweens, inners;
    float *product = sums.floats(n_ * hidden_), *h = betweens.floats(n_ * hidden_), *inner = inners.floats(n_ * wide_);
    const auto norm_all = [&](const float* residual, bool last, float* to) {
      parallel_for(n_, 4, [&](int64_t begin, int64_t end, int) {
        const int64_t at = begin * hidden_;
        norm_sum(product + at, residual + at, end - begin, last, to + at);
      });
    };
    multiply(out_, seen, n_, {{product}}, phase_);
    norm_all(x, false, h);
    multiply(mlp_.first(1), h, n_, {{inner}}, phase_);
    parallel_for(n_ * wide_, 4096, [&](int64_t begin, int64_t end, int) {
      cpu_kernels().activate(inner + begin, end - begin, activation_, inner + begin);
    });
    multiply(mlp_.subspan(1), inner, n_, {{product}}, phase_);
    norm_all(h, true, y);
  }

  const EncoderLayerOp& op_;
  int activation_;
  Phase phase_;
  const float* const* weights_;  // of the norms: factor and offset of each
  int64_t n_;
  std::span<const MatrixView> qkv_, out_, mlp_;
  int64_t hidden_, wide_;
};

}  // namespace

mx::array cpu_encoder_layer(const mx::array& x, const EncoderLayerOp& layer) {
  std::vector<mx::array> inputs{x, layer.attention_norm.weight, layer.mlp_norm.weight};
  for (const NormWeights* norm : {&layer.attention_norm, &layer.mlp_norm}) {
    inputs.push_back(norm->bias ? *norm->bias : norm->weight);
  }
  auto compute = [layer, activation = *gated_number(layer.activation), phase = current_phase()](const Arrays& in,
                                                                                                Arrays& out) {
    static Scratch copy;
    const int64_t n = in[0].shape(0);
    if (n == 0) return;
    const auto floats = [&](size_t i) { return in[i].data<float>(); };
    const float* weights[] = {floats(1), layer.attention_norm.bias ? floats(3) : nullptr, floats(2),
                              layer.mlp_norm.bias ? floats(4) : nullptr};
    Layer(layer, activation, phase, weights, n).run(row_major(in[0], copy), out[0].data<float>());
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuEncoderLayer", std::move(compute)), std::move(inputs));
}

}  // namespace mlxk
