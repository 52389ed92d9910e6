#include "kernels/cuda/cuda_sample.h"

#include <algorithm>

#include "kernels/cuda/cuda_op.h"
#include "kernels/cuda/functions.h"

namespace mlxk {
namespace {

constexpr size_t kRowsAtOnce = 64;

// As in sample.cu.
struct SampleRow {
  int row, top_k;
  float inverse_temperature, top_p, min_p, uniform;
};

struct SampleParams {
  const void* logits;
  int* tokens;
  float* checks;
  int columns;
  SampleRow rows[kRowsAtOnce];
};

}  // namespace

CudaSamples cuda_sample(const mx::array& logits, std::vector<CudaSampleRow> rows) {
  const int count = static_cast<int>(rows.size());
  auto compute = [rows = std::move(rows)](CudaLaunches& launches, const Arrays& in, Arrays& out) {
    auto* function =
        cuda_function({cuda_source::common, cuda_source::sample}, "sample", {{"TYPE", cuda_type(in[0].dtype())}});
    for (size_t first = 0; first < rows.size(); first += kRowsAtOnce) {
      const size_t n = std::min(kRowsAtOnce, rows.size() - first);
      SampleParams p{cuda_data(in[0]),
                     static_cast<int*>(cuda_data(out[0])) + first,
                     static_cast<float*>(cuda_data(out[1])) + first,
                     in[0].shape(1),
                     {}};
      for (size_t i = 0; i < n; ++i) {
        const CudaSampleRow& r = rows[first + i];
        const float inverse = r.temperature > 0 ? std::clamp(1 / r.temperature, 1e-30F, 1e30F) : 0;
        p.rows[i] = {r.row, r.top_k, inverse, r.top_p, r.min_p, r.uniform};
      }
      launches.launch(function, {static_cast<unsigned>(n)}, 1024, 0, p, {in[0]}, {out.begin(), out.end()});
    }
  };
  const auto made = mx::array::make_arrays({{count, 1}, {count, 1}}, {mx::int32, mx::float32},
                                           cuda_op("CudaSample", std::move(compute), true), {row_contiguous(logits)});
  return {made[0], made[1]};
}

}  // namespace mlxk
