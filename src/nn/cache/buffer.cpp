#include "nn/cache/buffer.h"

#include <cstring>

#include "kernels/cpu_op.h"
#include "mlx/ops.h"

namespace mlxk {

mx::array grown(const std::optional<mx::array>& buffer, int capacity, const mx::array& sample) {
  mx::Shape shape = sample.shape();
  shape[2] = capacity - (buffer ? buffer->shape(2) : 0);
  mx::array room = mx::zeros(shape, sample.dtype());
  return buffer ? mx::concatenate({*buffer, room}, 2) : room;
}

mx::array slots_of(const mx::array& part, int row, int from, int length) {
  if ((row < 0 || part.shape(0) == 1) && from == 0 && length == part.shape(2)) return part;
  mx::Shape begin{0, 0, from, 0}, end = part.shape();
  end[2] = from + length;
  if (row >= 0) {
    begin[0] = row;
    end[0] = row + 1;
  }
  return mx::slice(part, begin, end);
}

void write_slots(mx::array& buffer, const mx::array& part, int row, int slot, int from, int length) {
  if (length == 0) return;
  mx::Shape begin{row < 0 ? 0 : row, 0, slot, 0}, end = buffer.shape();
  end[2] = slot + length;
  if (row >= 0) end[0] = row + 1;
  // The old array must be gone when this is evaluated, or the buffer is copied: it is moved into the new one.
  mx::array old = std::move(buffer);
  buffer = mx::slice_update(old, slots_of(part, row, from, length), begin, end);
}

mx::array first_tokens(const mx::array& buffer, int length) {
  if (length == buffer.shape(2)) return buffer;
  mx::Shape end = buffer.shape();
  end[2] = length;
  return mx::slice(buffer, mx::Shape(end.size(), 0), end);
}

mx::array copied(const mx::array& buffer) {
  if (!cpu_is_default()) {  // libmlx's own copies share the buffer
    mx::array own = mx::add(buffer, mx::zeros({}, buffer.dtype()));
    own.eval();
    return own;
  }
  auto copy = [](const Arrays& in, Arrays& out) {
    std::memcpy(out[0].data<char>(), in[0].data<char>(), in[0].nbytes());
  };
  mx::array own(buffer.shape(), buffer.dtype(), cpu_op("CpuCopy", copy), {buffer});
  own.eval();
  return own;
}

mx::array row_of(const mx::array& x, int row) {
  mx::Shape begin(x.ndim(), 0), end = x.shape();
  begin[0] = row;
  end[0] = row + 1;
  return mx::slice(x, begin, end);
}

}  // namespace mlxk
