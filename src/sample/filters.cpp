#include "sample/filters.h"

#include <mlx/ops.h>

#include <cmath>
#include <limits>

namespace mlxk {
namespace mx = mlx::core;
namespace {

const float kInfinity = std::numeric_limits<float>::infinity();

mx::array remove_where(const mx::array& condition, const mx::array& logprobs) {
  return mx::where(condition, mx::array(-kInfinity), logprobs);
}

}  // namespace

mx::array keep_top_p(const mx::array& logprobs, float top_p) {
  const mx::array sorted = mx::sort(logprobs, -1);  // ascending
  const mx::array probs = mx::exp(sorted);
  const mx::array above = mx::cumsum(probs, -1, /*reverse=*/true, /*inclusive=*/false);
  // The rounded total may differ from 1, so a top_p close to 1 might never be reached.
  const mx::array total = mx::add(mx::slice(above, {0, 0}, {1, 1}), mx::slice(probs, {0, 0}, {1, 1}));
  const mx::array dropped =
      mx::sum(mx::greater_equal(above, mx::multiply(total, mx::array(top_p))), -1, /*keepdims=*/true);  // [1, 1]
  const mx::array least = mx::take_along_axis(sorted, dropped, -1);
  return remove_where(mx::less(logprobs, least), logprobs);
}

mx::array keep_min_p(const mx::array& logprobs, float min_p, int min_tokens) {
  const int vocab = logprobs.shape(-1);
  if (min_tokens >= vocab) return logprobs;
  const mx::array least = mx::add(mx::max(logprobs, -1, /*keepdims=*/true), mx::array(std::log(min_p)));
  mx::array removed = mx::less(logprobs, least);
  if (min_tokens > 1) {
    const mx::array order = mx::argpartition(logprobs, vocab - min_tokens, -1);
    const mx::array kept = mx::slice(order, {0, vocab - min_tokens}, {1, vocab});
    removed = mx::put_along_axis(removed, kept, mx::array(false), -1);
  }
  return remove_where(removed, logprobs);
}

mx::array exclude_top_choices(const mx::array& logprobs, float threshold, const std::vector<int32_t>& special) {
  const mx::array probs = mx::softmax(logprobs, -1);
  const mx::array candidates = mx::where(mx::greater(probs, mx::array(threshold)), probs, mx::array(kInfinity));
  mx::array removed = mx::greater(probs, mx::min(candidates, -1, /*keepdims=*/true));
  if (!special.empty()) {
    const mx::array ids(special.begin(), {1, static_cast<int>(special.size())}, mx::int32);
    removed = mx::put_along_axis(removed, ids, mx::array(false), -1);
  }
  return remove_where(removed, logprobs);
}

mx::array keep_top_k(const mx::array& logprobs, int k) {
  const int vocab = logprobs.shape(-1);
  if (k >= vocab) return logprobs;
  const mx::array order = mx::argpartition(mx::negative(logprobs), k - 1, -1);
  const mx::array removed = mx::slice(order, {0, k}, {1, vocab});
  return mx::put_along_axis(logprobs, removed, mx::array(-kInfinity), -1);
}

}  // namespace mlxk
