#include "kernels/append.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "kernels/cpu_op.h"
#include "mlx/ops.h"

namespace mlxk {

namespace mx = mlx::core;

namespace {

/// Writes `part` to the row-contiguous `buffer`, starting at `slot` of `row` (-1: every row).
void write(const mx::array& part, mx::array& buffer, int row, int slot) {
  const size_t item = part.itemsize(), width = static_cast<size_t>(part.shape(3));
  const auto step = [&](int axis) { return part.strides(axis) * static_cast<int64_t>(item); };
  const bool dense = part.strides(3) == 1 || width == 1;
  for (int r = 0; r < part.shape(0); ++r) {
    for (int head = 0; head < part.shape(1); ++head) {
      for (int token = 0; token < part.shape(2); ++token) {
        const char* from = part.data<char>() + r * step(0) + head * step(1) + token * step(2);
        const int64_t place =
            (static_cast<int64_t>(std::max(row, 0) + r) * buffer.shape(1) + head) * buffer.shape(2) + slot + token;
        char* to = buffer.data<char>() + static_cast<size_t>(place) * width * item;
        for (size_t i = 0; !dense && i < width; ++i)
          std::memcpy(to + i * item, from + static_cast<int64_t>(i) * step(3), item);
        if (dense) std::memcpy(to, from, item * width);
      }
    }
  }
}

mx::array append_by_update(const mx::array& buffer, const mx::array& part, int row, int slot) {
  mx::Shape begin{row < 0 ? 0 : row, 0, slot, 0};
  mx::Shape end{row < 0 ? buffer.shape(0) : row + 1, buffer.shape(1), slot + part.shape(2), buffer.shape(3)};
  return mx::slice_update(buffer, part, begin, end);
}

}  // namespace

mx::array append_in_place(const mx::array& buffer, const mx::array& part, int row, int slot) {
  bool fits = buffer.ndim() == 4 && part.ndim() == 4 && part.shape(1) == buffer.shape(1) &&
              part.shape(3) == buffer.shape(3) && part.dtype() == buffer.dtype() && slot >= 0 &&
              slot + part.shape(2) <= buffer.shape(2) &&
              (row < 0 ? part.shape(0) == buffer.shape(0) : row < buffer.shape(0) && part.shape(0) == 1);
  if (!fits) throw std::invalid_argument("[append] the part does not fit the buffer");
  if (!cpu_is_default()) return append_by_update(buffer, part, row, slot);
  auto compute = [row, slot](const Arrays& in, Arrays& out) { write(in[1], out[0], row, slot); };
  return mx::array(buffer.shape(), buffer.dtype(), cpu_op("CpuAppend", std::move(compute), {{0, 0}}), {buffer, part});
}

}  // namespace mlxk
