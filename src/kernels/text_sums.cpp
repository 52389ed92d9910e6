#include "kernels/text_sums.h"

#include <algorithm>

#include "cpu/features.h"
#include "cpu/threads.h"
#include "kernels/cpu/table.h"
#include "kernels/cpu_op.h"

namespace mlxk {

std::optional<mx::array> text_sums(const mx::array& x, const TextSums& sums) {
  const LayerOps& ops = layer_ops();
  if (&ops != &cpu_layer_ops() || !ops.takes(x.dtype())) return std::nullopt;
  std::vector<int64_t> firsts;
  int64_t tokens = 0;
  for (const int length : sums.lengths) {
    firsts.push_back(tokens);
    tokens += length;
  }
  auto compute = [sums, firsts = std::move(firsts)](const Arrays& in, Arrays& out) {
    static Scratch copy;
    const int64_t columns = in[0].shape(1), texts = out[0].shape(0);
    const float* x = row_major(in[0], copy);
    auto* y = out[0].data<float>();
    parallel_for(texts, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const auto text = static_cast<size_t>(i);
        float* row = y + i * columns;
        std::fill_n(row, columns, 0.0F);
        for (int64_t t = firsts[text]; t < firsts[text] + sums.lengths[text]; ++t) {
          const float weight = sums.weights[static_cast<size_t>(t)];
          if (weight != 0) cpu_kernels().add(x + t * columns, weight, columns, row);
        }
        for (int64_t k = 0; k < columns; ++k) row[k] /= sums.divisors[text];
      }
    });
  };
  return mx::array({static_cast<int>(sums.lengths.size()), x.shape(1)}, mx::float32,
                   cpu_op("CpuTextSums", std::move(compute)), {x});
}

}  // namespace mlxk
