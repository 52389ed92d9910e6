#include "kernels/cpu/ops.h"

#include <gtest/gtest.h>

#include <cstring>

#include "cpu/threads.h"
#include "kernels/cpu/cached_attention.h"
#include "kernels/cpu_op.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

/// The largest difference relative to the largest value.
float relative_error(const mx::array& y, const mx::array& exact) {
  return mx::divide(mx::max(mx::abs(mx::subtract(y, exact))), mx::max(mx::abs(exact))).item<float>();
}

class CpuOps : public testing::Test {
 protected:
  void SetUp() override {
    if (!cpu_is_default()) GTEST_SKIP() << "libmlx's default device is not the CPU";
    mx::random::seed(3);
  }
};

MatrixWeights packed(int rows, int columns, int bits, mx::Dtype type = mx::float32) {
  const auto w = mx::astype(mx::random::normal({rows, columns}), type);
  const auto parts = mx::quantize(w, 32, bits);
  return {parts[0], parts[1], parts[2], std::nullopt, rows, columns, bits, 32};
}

mx::array reference(const mx::array& x, const MatrixWeights& m) {
  const auto w = m.bits == 0 ? mx::astype(m.weight, mx::float32)
                             : mx::dequantize(m.weight, mx::astype(*m.scales, mx::float32),
                                              mx::astype(*m.biases, mx::float32), m.group, m.bits);
  auto y = mx::matmul(x, mx::transpose(w));
  return m.bias ? mx::add(y, *m.bias) : y;
}

TEST_F(CpuOps, NormAndProductsOfMixedWeightsEqualTheirOperations) {
  const auto x = mx::random::normal({2, 7, 96});
  const NormWeights norm{mx::random::normal({96}), 1e-5F};
  MatrixWeights with_bias = packed(50, 96, 4, mx::float16);
  with_bias.bias = mx::random::normal({50});
  const MatrixWeights plain{mx::astype(mx::random::normal({33, 96}), mx::bfloat16), {}, {}, {}, 33, 96};
  const std::vector<MatrixWeights> matrices{with_bias, packed(64, 96, 8), packed(31, 96, 8), plain};
  const auto h = mx::fast::rms_norm(x, norm.weight, norm.eps);
  for (const Phase phase : {Phase::decode, Phase::prefill}) {
    const PhaseScope scope(phase);
    const auto ys = cpu_matmuls(x, cpu_layer(matrices, norm));
    for (size_t m = 0; m < matrices.size(); ++m) EXPECT_LT(relative_error(ys[m], reference(h, matrices[m])), 1e-4) << m;
  }
}

TEST_F(CpuOps, TakesInputsThatDoNotLieInOrder) {
  const auto m = packed(20, 64, 4);
  const auto x = mx::transpose(mx::random::normal({64, 5}));
  EXPECT_LT(relative_error(cpu_matmuls(x, cpu_layer({m}))[0], reference(x, m)), 1e-4);
}

TEST_F(CpuOps, GatedMlpEqualsItsOperations) {
  const auto x = mx::random::normal({1, 3, 64});
  const NormWeights norm{mx::random::normal({64}), 1e-5F}, post{mx::random::normal({64}), 1e-6F};
  const auto gate = packed(128, 64, 4), up = packed(128, 64, 4), down = packed(64, 128, 6);
  const auto h = mx::fast::rms_norm(x, norm.weight, norm.eps);
  const auto g = reference(h, gate);
  const auto inner = mx::multiply(mx::multiply(g, mx::sigmoid(g)), reference(h, up));
  const auto exact =
      mx::add(x, mx::multiply(mx::array(0.5F), mx::fast::rms_norm(reference(inner, down), post.weight, post.eps)));
  EXPECT_LT(relative_error(cpu_gated_mlp(x, cpu_layer({gate, up, down}, norm, post), 0, 0.5F), exact), 1e-4);
}

TEST_F(CpuOps, ResidualIsAddedAfterTheNorm) {
  const auto x = mx::random::normal({1, 1, 64}), residual = mx::random::normal({1, 1, 32});
  const auto m = packed(32, 64, 4);
  EXPECT_LT(relative_error(cpu_matmul_residual(x, cpu_layer({m}), 2, residual),
                           mx::add(residual, mx::multiply(mx::array(2.0F), reference(x, m)))),
            1e-4);
}

struct SmallFloats {
  const char* mode;
  int bits, group;
};

TEST_F(CpuOps, ProductsOfSmallFloatsEqualTheirOperations) {
  for (const auto& s : {SmallFloats{"mxfp4", 4, 32}, {"nvfp4", 4, 16}, {"mxfp8", 8, 32}}) {
    for (const auto& [rows, columns] : {std::pair{17, 32}, {37, 96}, {70, 1152}, {0, 64}}) {
      const auto parts = mx::quantize(mx::random::normal({std::max(rows, 1), columns}), s.group, s.bits, s.mode);
      const auto first = [&](const mx::array& a) { return mx::contiguous(mx::slice(a, {0, 0}, {rows, a.shape(1)})); };
      const auto weight = first(parts[0]), scales = first(parts[1]);
      const auto exact_weight =
          mx::dequantize(parts[0], parts[1], std::nullopt, s.group, s.bits, s.mode, std::nullopt, mx::float32);
      const MatrixWeights m{weight, scales, {}, {}, rows, columns, s.bits, s.group};
      for (const int n : {0, 1, 3, 9, 33}) {
        const auto x = mx::random::normal({n, columns});
        for (const Phase phase : {Phase::decode, Phase::prefill}) {
          const PhaseScope scope(phase);
          const auto y = cpu_matmuls(x, cpu_layer({m}))[0];
          ASSERT_EQ(y.shape(), (mx::Shape{n, rows}));
          if (n == 0 || rows == 0) continue;
          const auto exact = mx::matmul(x, mx::transpose(exact_weight));
          for (int r = 0; r < n; ++r) {
            const auto row = [&](const mx::array& a) { return mx::slice(a, {r, 0}, {r + 1, rows}); };
            EXPECT_LT(relative_error(row(y), row(exact)), 1e-4)
                << s.mode << ", " << rows << " x " << columns << ", row " << r;
          }
        }
      }
    }
  }
}

TEST_F(CpuOps, RowsHaveTheSameBitsWhateverThePhaseComputesWithThem) {
  const PhaseScope scope(Phase::decode);
  const auto fp = mx::quantize(mx::random::normal({70, 320}), 32, 8, "mxfp8"),
             nv = mx::quantize(mx::random::normal({70, 320}), 16, 4, "nvfp4");
  std::vector<MatrixWeights> matrices{{fp[0], fp[1], {}, {}, 70, 320, 8, 32}, {nv[0], nv[1], {}, {}, 70, 320, 4, 16}};
  for (const int bits : {2, 3, 4, 5, 6, 8}) matrices.push_back(packed(70, 320, bits, mx::bfloat16));
  for (const auto type : {mx::float32, mx::float16, mx::bfloat16}) {
    matrices.push_back({mx::astype(mx::random::normal({70, 320}), type), {}, {}, {}, 70, 320});
  }
  const auto layer = cpu_layer(matrices);
  const auto x = mx::random::normal({33, 320});
  const auto alone = [&](int r) { return cpu_matmuls(mx::slice(x, {r, 0}, {r + 1, 320}), layer); };
  for (int n = 1; n <= 33; ++n) {
    const auto together = cpu_matmuls(mx::slice(x, {0, 0}, {n, 320}), layer);
    for (const int r : {0, n / 2, n - 1}) {
      const auto single = alone(r);
      for (size_t m = 0; m < matrices.size(); ++m) {
        EXPECT_TRUE(mx::array_equal(mx::slice(together[m], {r, 0}, {r + 1, 70}), single[m]).item<bool>())
            << n << " rows, matrix " << m;
      }
    }
  }
}

struct AttentionShape {
  int batch, heads, kv_heads, length, tokens, head_dim;
};

TEST_F(CpuOps, AttentionEqualsLibmlx) {
  for (const auto& s :
       {AttentionShape{1, 4, 2, 1, 1, 16}, {2, 9, 3, 1, 700, 64}, {1, 6, 3, 40, 40, 24}, {2, 4, 1, 5, 300, 80}}) {
    const auto q = mx::random::normal({s.batch, s.heads, s.length, s.head_dim});
    // A view as a cache holds it: the first tokens of a longer buffer.
    const auto buffer = mx::random::normal({2, s.batch, s.kv_heads, s.tokens + 9, s.head_dim});
    const auto part = [&](int i) {
      return mx::squeeze(mx::slice(buffer, {i, 0, 0, 0, 0}, {i + 1, s.batch, s.kv_heads, s.tokens, s.head_dim}), 0);
    };
    const auto bools = mx::greater(mx::random::normal({s.batch, 1, s.length, s.tokens}), mx::array(-0.5F));
    const auto additive = mx::random::normal({1, 1, s.length, s.tokens});
    for (const Phase phase : {Phase::decode, Phase::prefill}) {
      const PhaseScope scope(phase);
      for (const auto& [mode, mask] : std::vector<std::pair<std::string, std::optional<mx::array>>>{
               {"", {}}, {"causal", {}}, {"array", bools}, {"array", additive}}) {
        if (mask && mask->dtype() == mx::bool_ && s.tokens == 1) continue;  // a query that sees nothing
        const auto exact = mx::fast::scaled_dot_product_attention(q, part(0), part(1), 0.2F, mode, mask);
        EXPECT_LT(relative_error(cpu_attention(q, part(0), part(1), 0.2F, mode, mask), exact), 1e-4)
            << s.tokens << " tokens, mode " << mode;
      }
    }
  }
}

TEST_F(CpuOps, AttentionGivesAQueryTheSameBitsInAnyChunk) {
  const PhaseScope scope(Phase::prefill);
  const auto q = mx::random::normal({1, 4, 80, 32}), k = mx::random::normal({1, 2, 80, 32}),
             v = mx::random::normal({1, 2, 80, 32});
  const auto first = [](const mx::array& a, int begin, int end) {
    return mx::slice(a, {0, 0, begin, 0}, {1, a.shape(1), end, 32});
  };
  const auto whole = cpu_attention(q, k, v, 0.1F, "causal", std::nullopt);
  for (const int cut : {1, 33, 79}) {
    const auto head = cpu_attention(first(q, 0, cut), first(k, 0, cut), first(v, 0, cut), 0.1F, "causal", std::nullopt);
    const auto tail = cpu_attention(first(q, cut, 80), k, v, 0.1F, "causal", std::nullopt);
    EXPECT_TRUE(mx::array_equal(mx::concatenate({head, tail}, 2), whole).item<bool>()) << cut;
  }
}

TEST(Threads, DoEveryPieceOnce) {
  for (const int64_t count : {0, 1, 7, 1000}) {
    std::vector<int> done(static_cast<size_t>(count), 0);
    parallel_for(count, 3, [&](int64_t begin, int64_t end, int thread) {
      ASSERT_LT(thread, kernel_threads());
      for (int64_t i = begin; i < end; ++i) ++done[static_cast<size_t>(i)];
    });
    EXPECT_EQ(done, std::vector<int>(static_cast<size_t>(count), 1));
  }
}

}  // namespace
}  // namespace mlxk
