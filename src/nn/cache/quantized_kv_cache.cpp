#include "nn/cache/quantized_kv_cache.h"

#include <fmt/format.h>

#include "base/error.h"
#include "mlx/ops.h"

namespace mlxk {
QuantizedKVCache::QuantizedKVCache(int rows, int bits, int group_size)
    : GrowingCache(rows), bits_(bits), group_size_(group_size) {
  if (bits != 4 && bits != 8)
    throw Error(ErrorKind::invalid, fmt::format("[cache] kv bits must be 4 or 8, got {}", bits));
}

mx::array QuantizedKVCache::attend(const mx::array& queries, const mx::array& keys, const mx::array& values,
                                   const AttentionScores& how, const AttentionMask& mask, const Positions& positions) {
  int batch = queries.shape(0), heads = queries.shape(1), length = queries.shape(2), head_dim = queries.shape(3);
  int kv_heads = keys.shape(1);
  if (how.soft_cap > 0 || how.sinks) {
    throw Error(ErrorKind::unsupported, "[cache] packed keys know neither soft caps nor sinks");
  }
  if (head_dim % group_size_ != 0 || values.shape(3) % group_size_ != 0) {
    throw Error(ErrorKind::invalid,
                fmt::format("[cache] heads of {} cannot be packed in groups of {}", head_dim, group_size_));
  }
  std::vector<mx::array> parts = mx::quantize(keys, group_size_, bits_);
  for (auto& part : mx::quantize(values, group_size_, bits_)) parts.push_back(part);
  std::vector<mx::array> all = append(parts, positions);
  for (auto& view : all) view = mx::expand_dims(view, 2);  // the query heads of a group share them

  mx::array grouped = mx::reshape(mx::multiply(queries, mx::array(how.scale, queries.dtype())),
                                  {batch, kv_heads, heads / kv_heads, length, head_dim});
  mx::array scores = mx::quantized_matmul(grouped, all[0], all[1], all[2], true, group_size_, bits_);
  mx::array weights = mx::softmax(hide(scores, mask), -1, true);
  mx::array out = mx::quantized_matmul(weights, all[3], all[4], all[5], false, group_size_, bits_);
  return mx::reshape(out, {batch, heads, length, values.shape(3)});
}

}  // namespace mlxk
