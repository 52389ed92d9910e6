#include "nn/layer_inputs.h"

#include <algorithm>

#include "mlx/ops.h"

namespace mlxk {

const AttentionMask& LayerMasks::of(const AttentionCache& cache, MaskRequest request) const {
  request.ranges.insert(request.ranges.end(), ranges_.begin(), ranges_.end());
  const int tokens = *std::max_element(positions_.offsets.begin(), positions_.offsets.end()) + positions_.length;
  if (tokens <= request.chunk) request.chunk = 0;  // the first one holds all of them
  const CacheGeometry geometry = cache.geometry();
  for (const Made& made : made_) {
    if (made.geometry == geometry && made.request == request) return *made.mask;
  }
  AttentionMask mask;
  if (given_) {
    mask = {"array", given_, true};
  } else if (!request.is_plain() && cache.attends_in_slots(positions_)) {
    mask = {"array", mask_array(request, positions_, mx::reshape(mx::arange(tokens), {1, 1, 1, tokens})), true};
  } else {
    mask = cache.mask(positions_, request);
  }
  mask.request = request;
  made_.push_back({geometry, std::move(request), std::make_unique<AttentionMask>(std::move(mask))});
  return *made_.back().mask;
}

}  // namespace mlxk
