#include "models/step.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <limits>

#include "base/error.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

Error invalid(const std::string& what) { return Error(ErrorKind::invalid, "[inputs] " + what); }

// Past the end of the table `take` reads foreign memory. Ids still being computed were checked by their producer.
void check_ids(const mx::array& ids, int64_t vocab_size) {
  if (!ids.is_available() || !ids.flags().row_contiguous) return;
  const auto* id = ids.data<int32_t>();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (id[i] < 0 || id[i] >= vocab_size) {
      throw invalid(fmt::format("ids must be in [0, {}), got {} at {}", vocab_size, id[i], i));
    }
  }
}

}  // namespace

Positions positions_of(const Inputs& inputs, const ModelCache& cache, const ModelShape& shape) {
  if (!inputs.ids && !inputs.embeddings) throw invalid("give ids or embeddings");
  const mx::array& given = inputs.ids ? *inputs.ids : *inputs.embeddings;
  if (inputs.ids && (given.ndim() != 2 || given.dtype() != mx::int32)) throw invalid("ids must be [B, L] of int32");
  if (inputs.ids) check_ids(given, shape.vocab_size);
  const auto fits = [&](const mx::array& x) {
    return x.ndim() == 3 && x.shape(0) == given.shape(0) && x.shape(1) == given.shape(1) &&
           x.shape(2) == shape.hidden_size;
  };
  if (inputs.embeddings && !fits(*inputs.embeddings)) {
    throw invalid(fmt::format("embeddings must be [B, L, {}]", shape.hidden_size));
  }
  for (const auto& features : inputs.layer_features) {
    if (!fits(features)) throw invalid(fmt::format("layer features must be [B, L, {}]", shape.hidden_size));
  }
  int rows = given.shape(0), length = given.shape(1);
  for (const CrossMedia& media : inputs.cross_media) {
    if (media.row < 0 || media.row >= rows || media.token < -1 || media.token >= length || media.features.ndim() != 2 ||
        media.features.shape(1) != shape.hidden_size) {
      throw invalid(fmt::format("images must be [T, {}] at tokens of the call", shape.hidden_size));
    }
  }
  if (rows < 1 || length < 1)
    throw invalid(fmt::format("need at least one row and one token, got [{}, {}]", rows, length));
  const int64_t caches = shape.num_caches < 0 ? shape.num_layers : shape.num_caches;
  if (static_cast<int64_t>(cache.size()) != caches || cache.rows() != rows) {
    throw invalid(fmt::format("{} rows need {} caches for as many, got {} caches for {} rows", rows, caches,
                              cache.size(), cache.rows()));
  }
  if (!inputs.lengths.empty() && inputs.lengths.size() != static_cast<size_t>(rows)) {
    throw invalid(fmt::format("lengths must have {} entries, got {}", rows, inputs.lengths.size()));
  }
  for (int count : inputs.lengths) {
    if (count < 0 || count > length) throw invalid(fmt::format("lengths must be in [0, {}], got {}", length, count));
  }
  for (int offset : cache.positions()) {
    if (offset > std::numeric_limits<int>::max() - length - 1024) throw invalid("the row has become too long");
  }
  if (inputs.positions) {
    const mx::Shape& have = inputs.positions->shape();
    if (have != mx::Shape{rows, length} && have != mx::Shape{3, rows, length}) {
      throw invalid(
          fmt::format("positions must be [{0}, {1}] or [3, {0}, {1}], got [{2}]", rows, length, fmt::join(have, ", ")));
    }
  }
  return Positions(cache.positions(), length, inputs.lengths, inputs.positions);
}

mx::array Model::embed(const mx::array&) const {
  throw Error(ErrorKind::internal, fmt::format("[{}] its embeddings cannot be computed separately", shape_.model_type));
}

mx::array wanted_tokens(const mx::array& hidden, const Inputs& inputs, const Positions& positions) {
  if (!inputs.last_only || positions.length == 1) return hidden;
  int rows = hidden.shape(0), width = hidden.shape(2);
  if (positions.uniform) {
    int last = positions.lengths[0] - 1;
    if (last < 0) last = 0;
    return mx::slice(hidden, {0, last, 0}, {rows, last + 1, width});
  }
  std::vector<int> last;
  for (int count : positions.lengths) last.push_back(count > 0 ? count - 1 : 0);
  mx::array index(last.begin(), {rows, 1, 1}, mx::int32);
  return mx::take_along_axis(hidden, index, 1);
}

AttentionCache& attention_cache(ModelCache& cache, size_t layer) {
  auto* attention = dynamic_cast<AttentionCache*>(&cache[layer]);
  if (!attention) throw Error(ErrorKind::internal, fmt::format("[cache] layer {} needs keys and values", layer));
  return *attention;
}

}  // namespace mlxk
