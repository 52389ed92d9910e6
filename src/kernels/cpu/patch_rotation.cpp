#include "kernels/cpu/patch_rotation.h"

#include <algorithm>
#include <stdexcept>

#include "cpu/features.h"
#include "cpu/threads.h"
#include "kernels/cpu_op.h"

namespace mlxk {

mx::array cpu_rotate_patches(const mx::array& x, const mx::array& cos, const mx::array& sin, int groups,
                             bool neighbours) {
  const int64_t patches = x.shape(1), width = x.shape(2), half = cos.shape(-1), dim = 2 * half;
  if (cos.shape() != sin.shape() || cos.shape(1) != patches || half % groups != 0 || width % dim != 0) {
    throw std::invalid_argument("[rotation] the angles must be those of x");
  }
  auto compute = [=](const Arrays& in, Arrays& out) {
    static Scratch x_copy, cos_copy, sin_copy;
    const float *from = row_major(in[0], x_copy), *cosines = row_major(in[1], cos_copy),
                *sines = row_major(in[2], sin_copy);
    float* to = out[0].data<float>();
    const int64_t own = half / groups;
    parallel_for(patches, grain_of(4 * width), [&](int64_t begin, int64_t end, int) {
      Scratch storage;
      float *c = storage.floats(4 * own), *s = c + 2 * own;
      for (int64_t t = begin; t < end; ++t) {
        std::copy_n(from + t * width, width, to + t * width);
        for (int64_t g = 0; g < groups; ++g) {
          for (int64_t i = 0; i < own; ++i) {
            const int64_t first = neighbours ? 2 * i : i, second = neighbours ? 2 * i + 1 : own + i;
            c[first] = c[second] = cosines[t * half + g * own + i];
            s[second] = sines[t * half + g * own + i];
            s[first] = -s[second];
          }
          for (int64_t at = t * width + 2 * g * own; at < (t + 1) * width; at += dim) {
            cpu_kernels().rotate(to + at, c, s, own, neighbours);
          }
        }
      }
    });
  };
  return mx::array(x.shape(), mx::float32, cpu_op("CpuRotatePatches", std::move(compute)), {x, cos, sin});
}

}  // namespace mlxk
