#include "kernels/cpu/lookup.h"

#include <algorithm>
#include <cmath>

#include "cpu/features.h"
#include "cpu/threads.h"
#include "mlx/transforms.h"

namespace mlxk {

mx::array cpu_lookup(const mx::array& ids, const MatrixWeights& table) {
  for (const auto& part : {std::optional(table.weight), table.scales, table.biases}) {
    if (part && !part->is_available()) mx::eval(*part);
  }
  auto compute = [table, view = matrix_view(table)](const Arrays& in, Arrays& out) {
    const AffineWeight packed{static_cast<const uint8_t*>(view.data),
                              view.scales,
                              view.biases,
                              view.rows,
                              view.columns,
                              view.bits,
                              view.group,
                              view.type};
    static Scratch copy;
    const int32_t* id = row_major_int(in[0], copy);
    auto* rows = out[0].data<float>();
    parallel_for(static_cast<int64_t>(in[0].size()), grain_of(view.columns), [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        float* to = rows + i * view.columns;
        if (id[i] < 0 || id[i] >= view.rows) {
          std::fill_n(to, view.columns, NAN);
        } else if (view.bits > 0) {
          cpu_kernels().unpack_row(&packed, id[i], to);
        } else {
          cpu_kernels().unpack_floats(view.data, id[i] * view.columns, view.columns, view.type, to);
        }
      }
    });
  };
  mx::Shape shape = ids.shape();
  shape.push_back(table.columns);
  return mx::array(std::move(shape), mx::float32, cpu_op("CpuLookup", std::move(compute)), {ids});
}

}  // namespace mlxk
