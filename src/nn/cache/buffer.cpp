#include "nn/cache/buffer.h"

#include <algorithm>

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

mx::array rows_of(const mx::array& buffer, std::span<const int> rows) {
  mx::array index(rows.begin(), {static_cast<int>(rows.size())}, mx::int32);
  return mx::take(buffer, index, 0);
}

std::vector<mx::array> joined_rows(const std::vector<mx::array>& first, int first_rows,
                                   const std::vector<mx::array>& second, int second_rows) {
  std::vector<mx::array> joined;
  const auto& samples = first.empty() ? second : first;
  for (size_t i = 0; i < samples.size(); ++i) {
    int capacity = std::max(first.empty() ? 0 : first[i].shape(2), second.empty() ? 0 : second[i].shape(2));
    auto padded = [&](const std::vector<mx::array>& buffers, int rows) {
      if (!buffers.empty() && buffers[i].shape(2) == capacity) return buffers[i];
      mx::Shape shape = samples[i].shape();
      shape[0] = rows;
      std::optional<mx::array> have = buffers.empty() ? std::nullopt : std::optional(buffers[i]);
      return grown(have, capacity, mx::zeros(shape, samples[i].dtype()));
    };
    joined.push_back(mx::concatenate({padded(first, first_rows), padded(second, second_rows)}, 0));
  }
  return joined;
}

}  // namespace mlxk
