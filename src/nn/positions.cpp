#include "nn/positions.h"

#include <algorithm>
#include <functional>

#include "mlx/ops.h"

namespace mlxk {

Positions::Positions(std::vector<int> offsets, int length, std::vector<int> lengths, std::optional<mx::array> given)
    : offsets(std::move(offsets)), length(length), lengths(std::move(lengths)), given(std::move(given)) {
  if (this->lengths.empty()) this->lengths.assign(rows(), length);
  auto same = [](const std::vector<int>& all) {
    return std::adjacent_find(all.begin(), all.end(), std::not_equal_to<>()) == all.end();
  };
  uniform = same(this->offsets) && same(this->lengths);
  if (!uniform) offset_array = mx::array(this->offsets.begin(), {rows()}, mx::int32);
}

mx::array Positions::order() const {
  std::vector<int> all;
  for (int offset : offsets) {
    for (int i = 0; i < length; ++i) all.push_back(offset + i);
  }
  return mx::array(all.begin(), {rows(), length}, mx::int32);
}

}  // namespace mlxk
