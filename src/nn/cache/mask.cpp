#include "nn/cache/mask.h"

#include "mlx/ops.h"

namespace mlxk {

MaskRequest request_of_row(MaskRequest request, int row) {
  std::erase_if(request.ranges, [&](const MaskRequest::Range& range) { return range.row != row; });
  for (auto& range : request.ranges) range.row = 0;
  return request;
}

mx::array mask_array(const MaskRequest& request, const Positions& positions, const mx::array& keys) {
  const int rows = positions.rows(), length = positions.length;
  const mx::array queries = mx::reshape(positions.order(), {rows, 1, length, 1});
  mx::array seen = mx::greater_equal(keys, mx::array(0));
  if (request.causal) seen = mx::logical_and(seen, mx::less_equal(keys, queries));
  if (request.window > 0) {
    seen = mx::logical_and(seen, mx::greater(keys, mx::subtract(queries, mx::array(request.window))));
    if (!request.causal) {
      seen = mx::logical_and(seen, mx::less(keys, mx::add(queries, mx::array(request.window))));
    }
  }
  if (request.chunk > 0) {
    const mx::array chunk(request.chunk);
    seen = mx::logical_and(seen, mx::equal(mx::floor_divide(keys, chunk), mx::floor_divide(queries, chunk)));
  }
  for (const auto& range : request.ranges) {
    const auto inside = [&](const mx::array& at) {
      return mx::logical_and(mx::greater_equal(at, mx::array(range.begin)), mx::less(at, mx::array(range.end)));
    };
    mx::array together = mx::logical_and(inside(queries), inside(keys));
    if (rows > 1) {
      const mx::array row = mx::equal(mx::arange(rows), mx::array(range.row));
      together = mx::logical_and(together, mx::reshape(row, {rows, 1, 1, 1}));
    }
    seen = mx::logical_or(seen, together);
  }
  return seen;
}

}  // namespace mlxk
