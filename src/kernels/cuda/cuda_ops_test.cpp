#include "kernels/cuda/cuda_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "kernels/cuda/cuda_attention.h"
#include "kernels/cuda/cuda_blocks.h"
#include "kernels/cuda/cuda_sample.h"
#include "kernels/cuda/table.h"
#include "kernels/cuda/testing.h"
#include "kernels/cuda/upload.h"
#include "mlx/fast.h"
#include "mlx/ops.h"
#include "mlx/random.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

class CudaOps : public testing::Test {
 protected:
  void SetUp() override {
    if (mx::default_device() != mx::Device::gpu) GTEST_SKIP() << "libmlx's default device is no GPU";
    mx::random::seed(3);
  }
};

// One row and a few rows take other code paths than many; so do columns that the warps cannot share evenly.
constexpr int kRows[] = {1, 2, 3, 5, 8, 13, 33, 70};

TEST_F(CudaOps, ProductsOfEveryPackingEqualTheirSums) {
  struct Case {
    const char* name;
    std::function<MatrixWeights(int rows, int columns)> make;
  };
  const Case cases[] = {
      {"4 bits, 64", [](int r, int c) { return packed(r, c, 4, 64, mx::bfloat16); }},
      {"4 bits, 32", [](int r, int c) { return packed(r, c, 4, 32, mx::float16); }},
      {"4 bits, 128", [](int r, int c) { return packed(r, c, 4, 128, mx::bfloat16); }},
      {"8 bits, 64", [](int r, int c) { return packed(r, c, 8, 64, mx::bfloat16); }},
      {"8 bits, 32, float32", [](int r, int c) { return packed(r, c, 8, 32, mx::float32); }},
      {"mxfp4", [](int r, int c) { return mxfp4(r, c); }},
      {"bfloat16", [](int r, int c) { return plain(r, c); }},
  };
  for (const Case& kind : cases) {
    for (const int columns : {128, 576, 2048}) {
      if (columns % 128 != 0 && std::string_view(kind.name) == "4 bits, 128") continue;
      const MatrixWeights m = kind.make(100, columns);
      for (const mx::Dtype type : {mx::bfloat16, mx::float16, mx::float32}) {
        if (type != mx::bfloat16 && columns != 576) continue;  // each is compiled
        for (const int n : kRows) {
          const auto x = normal({n, columns}, type);
          const auto layer = cuda_layer({m});
          ASSERT_TRUE(layer);
          EXPECT_LT(relative_error(cuda_matmuls(x, layer)[0], product(x, m)), tolerance(type))
              << kind.name << ", " << columns << " columns, " << n << " rows, type " << type.size();
        }
      }
    }
  }
}

TEST_F(CudaOps, NormAndSeveralMatricesAreOneOperation) {
  for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
    const NormWeights norm{normal({512}, type), 1e-5F};
    MatrixWeights q = packed(200, 512, 4, 64, mx::bfloat16);
    q.bias = normal({200}, type);
    const std::vector<MatrixWeights> matrices{q, packed(40, 512, 4, 64, mx::bfloat16),
                                              packed(7, 512, 4, 64, mx::bfloat16)};
    const auto layer = cuda_layer(matrices, norm);
    for (const int n : kRows) {
      const auto x = normal({n, 1, 512}, type), h = normed(x, norm);
      const auto ys = cuda_matmuls(x, layer);
      for (size_t i = 0; i < matrices.size(); ++i) {
        EXPECT_EQ(ys[i].shape(), (mx::Shape{n, 1, matrices[i].rows}));
        EXPECT_LT(relative_error(ys[i], product(h, matrices[i])), tolerance(type)) << i << ", " << n << " rows";
      }
    }
  }
}

// One row is multiplied in fixed point, with a scale for each step of 64 columns (mxfp4: 32).
TEST_F(CudaOps, OneRowMayHaveAnyRange) {
  for (const MatrixWeights& m :
       {packed(40, 1024, 4, 64, mx::bfloat16), packed(40, 1024, 8, 128, mx::bfloat16), mxfp4(40, 1024)}) {
    const auto layer = cuda_layer({m});
    for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
      const auto x = normal({1, 1024}, type), ids = mx::arange(1024);
      for (const float factor : {1e-25F, 1.0F, 1e25F}) {
        const auto scaled = mx::multiply(x, mx::array(factor, type));
        EXPECT_LT(relative_error(cuda_matmuls(scaled, layer)[0], product(scaled, m)), tolerance(type)) << factor;
      }
      // A step with one large number, a step of small numbers, and nothing else.
      const auto mixed = mx::where(mx::equal(ids, mx::array(70)), mx::array(1000.0F, type),
                                   mx::where(mx::less(ids, mx::array(128)), x, mx::array(0.0F, type)));
      EXPECT_LT(relative_error(cuda_matmuls(mixed, layer)[0], product(mixed, m)), tolerance(type));
      const auto zeros = mx::zeros_like(x);
      EXPECT_TRUE(mx::all(mx::equal(cuda_matmuls(zeros, layer)[0], mx::array(0.0F, type))).item<bool>());
      for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        const auto spoilt = mx::where(mx::equal(ids, mx::array(70)), mx::array(bad, type), x);
        EXPECT_FALSE(mx::any(mx::isfinite(cuda_matmuls(spoilt, layer)[0])).item<bool>()) << bad;
      }
    }
  }
}

TEST_F(CudaOps, LogitsAreFloat32OfOtherActivations) {
  const auto m = packed(300, 256, 4, 64, mx::bfloat16);
  const auto x = normal({2, 256}, mx::bfloat16);
  const auto y = cuda_matmuls(x, cuda_layer({m}), mx::float32)[0];
  EXPECT_EQ(y.dtype(), mx::float32);
  EXPECT_LT(relative_error(y, product(x, m)), 3e-5);
}

TEST_F(CudaOps, GatedProductsEqualTheirOperations) {
  for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
    const NormWeights norm{normal({256}, type), 1e-5F};
    const auto gate = packed(88, 256, 4, 64, mx::bfloat16), up = packed(88, 256, 4, 64, mx::bfloat16);
    const auto layer = cuda_layer({gate, up}, norm);
    for (const int n : kRows) {
      const auto x = mx::multiply(normal({n, 256}, type), mx::array(0.1F, type)), h = normed(x, norm);
      const auto a = product(h, gate), exact = mx::multiply(mx::multiply(a, mx::sigmoid(a)), product(h, up));
      EXPECT_LT(relative_error(cuda_gated(x, layer, 0), exact), 2 * tolerance(type)) << n << " rows";
    }
  }
}

TEST_F(CudaOps, TheResidualIsAdded) {
  for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
    const auto m = packed(96, 320, 4, 64, mx::bfloat16);
    for (const int n : kRows) {
      const auto x = normal({n, 320}, type), residual = normal({n, 96}, type);
      const auto exact = mx::add(mx::astype(residual, mx::float32), mx::multiply(mx::array(0.5F), product(x, m)));
      EXPECT_LT(relative_error(cuda_matmul_residual(x, cuda_layer({m}), 0.5F, residual), exact), tolerance(type)) << n;
    }
  }
}

TEST_F(CudaOps, TakesInputsThatDoNotLieInOrderAndEmptyOnes) {
  const auto m = packed(20, 64, 4, 64, mx::bfloat16);
  const auto x = mx::transpose(normal({64, 5}, mx::float32));
  EXPECT_LT(relative_error(cuda_matmuls(x, cuda_layer({m}))[0], product(x, m)), 3e-5);
  auto empty = cuda_matmuls(mx::zeros({0, 64}), cuda_layer({m}))[0];
  mx::eval(empty);
  EXPECT_EQ(empty.shape(), (mx::Shape{0, 20}));
}

TEST_F(CudaOps, UnknownPackingsHaveNoLayer) {
  EXPECT_FALSE(cuda_layer({packed(20, 64, 6, 64, mx::bfloat16)}));
  EXPECT_FALSE(cuda_layer({packed(20, 64, 4, 64, mx::bfloat16), packed(20, 64, 8, 64, mx::bfloat16)}));
  EXPECT_FALSE(cuda_layer({{normal({20, 60}, mx::bfloat16), {}, {}, {}, 20, 60}}));
}

TEST_F(CudaOps, AWholePackedMatrix) {
  for (const auto& m : {packed(33, 192, 4, 64, mx::bfloat16), packed(5, 128, 8, 32, mx::float32), mxfp4(7, 96)}) {
    EXPECT_LT(relative_error(cuda_unpacked(m, mx::float32), unpacked(m)), 1e-6) << m.bits;
    EXPECT_LT(relative_error(cuda_unpacked(m, mx::bfloat16), unpacked(m)), 4e-3) << m.bits;
  }
}

TEST_F(CudaOps, RowsOfAPackedTable) {
  for (const int bits : {4, 8}) {
    const auto table = packed(50, 192, bits, 64, mx::float16);
    const auto ids = mx::array({3, 0, 49, 3}, {2, 2}, mx::int32);
    const auto exact = mx::take(unpacked(table), ids, 0);
    EXPECT_LT(relative_error(cuda_lookup(ids, table, mx::float32), exact), 1e-6) << bits;
    const auto none = cuda_lookup(mx::array({50, -1}, {2}, mx::int32), table, mx::float32);
    EXPECT_TRUE(mx::all(mx::isnan(none)).item<bool>()) << bits;
  }
}

TEST_F(CudaOps, TheFirstOfTheLargestIsChosen) {
  for (const mx::Dtype type : {mx::float32, mx::bfloat16, mx::float16}) {
    for (const int columns : {1, 100, 5000, 128256}) {
      const auto logits = normal({5, columns}, type);
      const auto chosen = cuda_sample(logits, {{0}, {1}, {2}, {3}, {4}});
      const auto exact = mx::astype(mx::argmax(logits, -1, true), mx::int32);
      EXPECT_TRUE(mx::array_equal(chosen.tokens, exact).item<bool>()) << columns;
      EXPECT_TRUE(mx::array_equal(chosen.checks, mx::astype(mx::max(logits, -1, true), mx::float32)).item<bool>());
    }
  }
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const auto odd = mx::array({-1.0F, 4.0F, nan, 4.0F, -2.0F, -1.0F, -1.0F, -3.0F, 0.0F, 0.0F, infinity, 0.0F, -infinity,
                              -infinity, -infinity, -infinity},
                             {4, 4});
  for (const float temperature : {0.0F, 1.0F}) {
    auto chosen = cuda_sample(odd, {{1}, {0, temperature}, {2, temperature}, {3, temperature}});
    mx::eval(chosen.tokens);
    EXPECT_EQ(chosen.tokens.data<int32_t>()[0], 1);
    EXPECT_EQ(chosen.checks.data<float>()[0], -1);
    for (int i = 1; i < 4; ++i) {
      EXPECT_FALSE(std::isfinite(chosen.checks.data<float>()[i])) << i;
      EXPECT_TRUE(chosen.tokens.data<int32_t>()[i] >= 0 && chosen.tokens.data<int32_t>()[i] < 4) << i;
    }
  }
}

/// The frequency of each token in draws at evenly spaced numbers.
std::vector<double> shares(const mx::array& logits, CudaSampleRow row, int draws) {
  std::vector<CudaSampleRow> rows;
  for (int i = 0; i < draws; ++i) {
    row.uniform = (static_cast<float>(i) + 0.5F) / static_cast<float>(draws);
    rows.push_back(row);
  }
  auto chosen = cuda_sample(logits, rows);
  mx::eval(chosen.tokens);
  std::vector<double> counts(static_cast<size_t>(logits.shape(1)));
  for (int i = 0; i < draws; ++i) counts[static_cast<size_t>(chosen.tokens.data<int32_t>()[i])] += 1.0 / draws;
  return counts;
}

TEST_F(CudaOps, DrawsFollowTheWeightsOfWhatIsKept) {
  // Weights of 8, 4, 2, 1 and 1 sixteenths, each in its own range.
  std::vector<float> values(3000, -30);
  const int places[] = {2999, 5, 1500, 700, 0};
  const double weights[] = {0.5, 0.25, 0.125, 0.0625, 0.0625};
  for (int i = 0; i < 5; ++i) values[static_cast<size_t>(places[i])] = static_cast<float>(std::log(weights[i]));
  const auto logits = mx::array(values.begin(), {1, 3000}, mx::float32);
  const auto expect = [&](const CudaSampleRow& row, const std::vector<double>& kept) {
    const auto got = shares(logits, row, 4000);
    double all = 0;
    for (const double weight : kept) all += weight;
    for (size_t i = 0; i < 5; ++i) {
      const double want = i < kept.size() ? kept[i] / all : 0;
      EXPECT_NEAR(got[static_cast<size_t>(places[i])], want, 2e-3) << i << ", top_p " << row.top_p;
    }
  };
  expect({0, 1}, {0.5, 0.25, 0.125, 0.0625, 0.0625});
  expect({0, 0.5}, {0.25, 0.0625, 0.015625, 0.00390625, 0.00390625});
  expect({0, 1, 0.7F}, {0.5, 0.25});
  expect({0, 1, 0.76F}, {0.5, 0.25, 0.125});
  expect({0, 1, 0.01F}, {0.5});
  expect({0, 1, 1, 0.3F}, {0.5, 0.25});
  expect({0, 1, 1, 0, 3}, {0.5, 0.25, 0.125});
  expect({0, 1, 1, 0, 1}, {0.5});
  expect({0, 2, 0.7F, 0.2F, 4}, {std::sqrt(0.5), 0.5});
}

TEST_F(CudaOps, BlocksGiveBackWhatTheySaved) {
  // 50 buffers are more than a launch takes.
  for (const auto& [count, tokens, kept] :
       {std::tuple(3, 200, 200), std::tuple(50, 150, 100), std::tuple(1, 13000, 12900)}) {
    std::vector<mx::array> buffers;
    std::vector<mx::Shape> shapes;
    std::vector<mx::Dtype> types;
    for (int i = 0; i < count; ++i) {
      const mx::Dtype type = i % 2 ? mx::float32 : mx::bfloat16;
      buffers.push_back(normal({1, 1 + i % 3, tokens + 7, 8}, type));
      shapes.push_back({1, 1 + i % 3, tokens + 70, 8});
      types.push_back(type);
    }
    mx::eval(buffers);
    std::vector<mx::array> blocks;
    for (int from = 0; from < kept; from += kCudaBlockTokens) {
      blocks.push_back(cuda_save_block(buffers, from, std::min(from + kCudaBlockTokens, tokens)));
    }
    const int last = std::min(kept / kCudaBlockTokens * kCudaBlockTokens + kCudaBlockTokens, tokens) -
                     kept / kCudaBlockTokens * kCudaBlockTokens;
    const auto restored = cuda_restore_blocks(blocks, last, kept, shapes, types);
    for (int i = 0; i < count; ++i) {
      const auto place = static_cast<size_t>(i);
      const int heads = 1 + i % 3;
      EXPECT_TRUE(mx::array_equal(mx::slice(restored[place], {0, 0, 0, 0}, {1, heads, kept, 8}),
                                  mx::slice(buffers[place], {0, 0, 0, 0}, {1, heads, kept, 8}))
                      .item<bool>())
          << i << " of " << count;
      const auto rest = mx::slice(restored[place], {0, 0, kept, 0}, {1, heads, tokens + 70, 8});
      EXPECT_FALSE(mx::any(mx::not_equal(rest, mx::zeros({}, rest.dtype()))).item<bool>()) << i << " of " << count;
    }
    std::vector<char> bytes(blocks[0].nbytes());
    cuda_read(blocks[0], bytes.data());
    blocks[0].eval();
    EXPECT_EQ(std::memcmp(bytes.data(), blocks[0].data<char>(), bytes.size()), 0);
  }
}

TEST_F(CudaOps, PartsOfAFileBecomeArrays) {
  const auto path = std::filesystem::temp_directory_path() / "mlxk_cuda_upload_test";
  std::vector<uint8_t> bytes((size_t{40} << 20) + 5);  // more than a thread reads at once
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761U >> 16);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  const int most = static_cast<int>(bytes.size()) - 3;
  const auto arrays = cuda_upload(path, {{3, {most}, mx::uint8}, {7, {0, 4}, mx::float32}, {8, {2, 6}, mx::uint8}});
  EXPECT_TRUE(mx::array_equal(arrays[0], mx::array(bytes.data() + 3, {most}, mx::uint8)).item<bool>());
  EXPECT_EQ(arrays[1].shape(), (mx::Shape{0, 4}));
  EXPECT_TRUE(mx::array_equal(arrays[2], mx::array(bytes.data() + 8, {2, 6}, mx::uint8)).item<bool>());
  EXPECT_THROW(cuda_upload(path, {{4, {most}, mx::uint8}}), Error);
  std::filesystem::remove(path);
}

/// Attention of one new token to buffers, by libmlx's operations in float32.
struct Reference {
  AttentionStep step;                   // q, k, v: [B, 1, heads * dim]
  std::vector<mx::array> keys, values;  // before the step

  mx::array turned(const mx::array& x, int position) const {  // [1, heads, 1, dim]
    const int pairs = static_cast<int>(step.rotation.pairs());
    if (pairs == 0) return x;
    const auto period = mx::divide(mx::array(1.0F), mx::array(step.rotation.steps.begin(), {pairs}, mx::float32));
    return mx::fast::rope(x, 2 * pairs, step.rotation.traditional, std::nullopt, 1, position, period);
  }
  mx::array row(int b) const {
    const int dim = step.head_dim, position = step.positions[static_cast<size_t>(b)];
    const auto heads = [&](const mx::array& x) {
      const auto own = mx::astype(mx::slice(x, {b, 0, 0}, {b + 1, 1, x.shape(2)}), mx::float32);
      return mx::reshape(own, {1, x.shape(2) / dim, 1, dim});
    };
    auto own_q = heads(step.q), own_k = heads(step.k);
    if (step.q_norm) own_q = normed(own_q, step.q_norm);
    if (step.k_norm) own_k = normed(own_k, step.k_norm);
    own_q = turned(own_q, position);
    own_k = turned(own_k, position);
    const auto& stored = keys[static_cast<size_t>(b)];
    std::vector<int> order;  // slots that are seen
    for (int at = 0; at < position; ++at) {
      if (step.window > 0 && at >= step.keep && at <= position - (step.window - step.keep)) continue;
      order.push_back(step.ring && at >= step.window ? step.keep + (at - step.keep) % (step.window - step.keep) : at);
    }
    const auto seen = [&](const mx::array& buffer, const mx::array& fresh) {
      if (order.empty()) return fresh;
      const auto old =
          mx::take(mx::astype(buffer, mx::float32), mx::array(order.begin(), {static_cast<int>(order.size())}), 2);
      return mx::concatenate({old, fresh}, 2);
    };
    const int group = step.q.shape(2) / step.k.shape(2);
    const auto all_k = mx::repeat(seen(stored, own_k), group, 1);
    const auto all_v = mx::repeat(seen(values[static_cast<size_t>(b)], heads(step.v)), group, 1);
    auto scores = mx::multiply(mx::sum(mx::multiply(own_q, all_k), -1), mx::array(step.scale));  // [1, heads, tokens]
    if (step.soft_cap > 0)
      scores = mx::multiply(mx::tanh(mx::divide(scores, mx::array(step.soft_cap))), mx::array(step.soft_cap));
    if (step.sinks) scores = mx::concatenate({scores, mx::reshape(*step.sinks, {1, step.q.shape(2) / dim, 1})}, 2);
    auto weights = mx::softmax(scores, -1);
    const int tokens = all_v.shape(2);
    weights = mx::slice(weights, {0, 0, 0}, {1, weights.shape(1), tokens});
    return mx::reshape(mx::sum(mx::multiply(mx::expand_dims(weights, -1), all_v), 2), {1, 1, step.q.shape(2)});
  }
};

void check_attention(int dim, int heads, int kv_heads, std::vector<int> positions, mx::Dtype type,
                     const std::function<void(AttentionStep&)>& change) {
  const int batch = static_cast<int>(positions.size());
  AttentionStep step{normal({batch, 1, heads * dim}, type),    normal({batch, 1, kv_heads * dim}, type),
                     normal({batch, 1, kv_heads * dim}, type), dim,
                     1 / std::sqrt(static_cast<float>(dim)),   std::move(positions)};
  step.lengths.assign(static_cast<size_t>(batch), 1);
  for (int i = 0; i < dim / 2; ++i) {
    step.rotation.steps.push_back(std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(dim)));
  }
  change(step);
  Reference r{step, {}, {}};
  std::vector<mx::array> keys, values;
  for (const int position : step.positions) {
    const int capacity = step.ring ? step.window : position + 3;
    for (auto* list : {&r.keys, &r.values}) {
      list->push_back(normal({1, kv_heads, capacity, dim}, type));
      mx::eval(list->back());
    }
    keys.push_back(mx::add(r.keys.back(), mx::array(0.0F, type)));  // copies, because they are written to
    values.push_back(mx::add(r.values.back(), mx::array(0.0F, type)));
  }
  ASSERT_TRUE(cuda_attends(step));
  AttentionResult after = cuda_attention_step(step, keys, values);
  mx::eval(after.out);
  for (int b = 0; b < batch; ++b) {
    const auto own = mx::slice(after.out, {b, 0, 0}, {b + 1, 1, heads * dim});
    EXPECT_LT(relative_error(own, r.row(b)), 2 * tolerance(type)) << "row " << b << ", dim " << dim;
    const int at = step.positions[static_cast<size_t>(b)];
    const int slot = step.ring && at >= step.window ? step.keep + (at - step.keep) % (step.window - step.keep) : at;
    const auto stored = mx::slice(after.values[static_cast<size_t>(b)], {0, 0, slot, 0}, {1, kv_heads, slot + 1, dim});
    const auto value = mx::reshape(mx::slice(step.v, {b, 0, 0}, {b + 1, 1, kv_heads * dim}), {1, kv_heads, 1, dim});
    EXPECT_TRUE(mx::array_equal(stored, value).item<bool>()) << "row " << b;
  }
}

TEST_F(CudaOps, AttentionOfOneTokenEqualsItsOperations) {
  const auto as_it_is = [](AttentionStep&) {};
  for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
    check_attention(128, 32, 8, {0, 5, 600, 63, 64}, type, as_it_is);
    check_attention(64, 9, 3, {700}, type, as_it_is);
    check_attention(256, 4, 1, {3, 130}, type, as_it_is);
    check_attention(64, 7, 1, {2000, 1}, type, as_it_is);
    check_attention(128, 16, 2, std::vector<int>(40, 77), type, as_it_is);
    std::vector<int> many(131);  // more rows than a launch takes
    std::iota(many.begin(), many.end(), 0);
    check_attention(64, 4, 2, many, type, as_it_is);
  }
  check_attention(128, 8, 8, {5000}, mx::float16, as_it_is);
}

TEST_F(CudaOps, OtherAttentionIsLeftToTheChain) {
  const AttentionStep one{normal({2, 1, 256}, mx::float32),
                          normal({2, 1, 128}, mx::float32),
                          normal({2, 1, 128}, mx::float32),
                          64,
                          1,
                          {3, 4},
                          {1, 1}};
  EXPECT_TRUE(cuda_attends(one));
  AttentionStep many = one, wide = one, masked = one, shorter = one;
  many.q = normal({2, 3, 256}, mx::float32);
  wide.head_dim = 80;
  masked.mask = mx::zeros({1, 1, 1, 8});
  shorter.lengths = {1, 0};
  for (const auto& step : {many, wide, masked, shorter}) EXPECT_FALSE(cuda_attends(step));
}

TEST_F(CudaOps, ManyRowsGoThroughUnpackedWeights) {
  const LayerOps& ops = cuda_layer_ops();
  for (const mx::Dtype type : {mx::bfloat16, mx::float16}) {
    const NormWeights norm{normal({256}, type), 1e-5F};
    const auto gate = packed(128, 256, 4, 64, mx::bfloat16), up = packed(128, 256, 4, 64, mx::bfloat16);
    const auto down = packed(256, 128, 4, 64, mx::bfloat16);
    const Packed block = ops.pack({gate, up, down}, norm, std::nullopt);
    ASSERT_TRUE(block);
    for (const int n : {2, 40, 200}) {
      const auto x = mx::multiply(normal({1, n, 256}, type), mx::array(0.1F, type)), h = normed(x, norm);
      const auto a = product(h, gate);
      const auto inner = mx::multiply(mx::multiply(a, mx::sigmoid(a)), product(h, up));
      const auto exact = mx::add(mx::astype(x, mx::float32), mx::multiply(mx::array(0.5F), product(inner, down)));
      EXPECT_LT(relative_error(ops.gated_mlp(x, block, Activation::silu, 0.5F), exact), 2e-2) << n;
    }
  }
}

TEST_F(CudaOps, AttentionWithNormsWindowsSinksAndCaps) {
  for (const mx::Dtype type : {mx::bfloat16, mx::float32}) {
    check_attention(128, 8, 2, {40, 300}, type, [&](AttentionStep& s) {
      s.q_norm = NormWeights{normal({128}, type), 1e-6F};
      s.k_norm = NormWeights{normal({128}, type), 1e-6F};
    });
    check_attention(64, 8, 2, {10, 200, 64, 63}, type, [](AttentionStep& s) {
      s.window = 64;
      s.ring = true;
      s.keep = 4;
    });
    check_attention(64, 8, 2, {10, 333}, type, [](AttentionStep& s) {
      s.sinks = mx::random::normal({8});
      s.rotation.traditional = true;
    });
    check_attention(256, 8, 4, {100}, type, [](AttentionStep& s) { s.soft_cap = 5; });
    check_attention(64, 4, 2, {100}, type, [](AttentionStep& s) { s.rotation.steps.clear(); });
    check_attention(128, 4, 2, {100}, type, [](AttentionStep& s) { s.rotation.steps.resize(16); });
  }
}

}  // namespace
}  // namespace mlxk
