#include "kernels/cpu/norm.h"

#include "cpu/features.h"
#include "cpu/threads.h"

namespace mlxk {

namespace {

/// Calls body(from, to) for each row of `in`.
template <class Body>
void each_row(const mx::array& in, mx::array& out, const Body& body) {
  static Scratch copy;
  const int64_t columns = in.shape(-1);
  if (in.size() == 0) return;
  const float* x = row_major(in, copy);
  float* y = out.data<float>();
  parallel_for(static_cast<int64_t>(in.size()) / columns, grain_of(2 * columns), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; ++r) body(x + r * columns, y + r * columns);
  });
}

const float* floats_of(const Arrays& in, int at) {
  return at < 0 ? nullptr : in[static_cast<size_t>(at)].data<float>();
}

}  // namespace

mx::array cpu_rms_norm(const mx::array& x, const NormWeights& norm) {
  auto compute = [eps = norm.eps](const Arrays& in, Arrays& out) {
    const auto* weight = in[1].data<float>();
    each_row(in[0], out[0],
             [&](const float* from, float* to) { cpu_kernels().rms_norm(from, weight, eps, in[0].shape(-1), to); });
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuRmsNorm", std::move(compute)), {x, norm.weight});
}

mx::array cpu_layer_norm(const mx::array& x, const std::optional<mx::array>& weight,
                         const std::optional<mx::array>& bias, float eps) {
  std::vector<mx::array> inputs{x};
  const auto add = [&](const std::optional<mx::array>& array) {
    if (!array) return -1;
    inputs.push_back(*array);
    return static_cast<int>(inputs.size()) - 1;
  };
  const int weight_at = add(weight), bias_at = add(bias);
  auto compute = [=](const Arrays& in, Arrays& out) {
    const float *factor = floats_of(in, weight_at), *offset = floats_of(in, bias_at);
    each_row(in[0], out[0], [&](const float* from, float* to) {
      cpu_kernels().layer_norm(from, factor, offset, eps, in[0].shape(-1), to);
    });
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuLayerNorm", std::move(compute)), std::move(inputs));
}

}  // namespace mlxk
