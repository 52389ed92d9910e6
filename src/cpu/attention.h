#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpu/isa/table.h"
#include "cpu/phase.h"

namespace mlxk {

/// The place of the head vectors of queries, keys, values or results in memory: element (b, head, token) starts at data
/// + b * batch + head * head_step + token * token_step, its numbers are contiguous. Rows in separate buffers (the
/// caches of several sequences) have a place and head_step each.
template <class T>
struct HeadRows {
  struct Row {
    T* data;
    int64_t head_step;
  };

  T* data;
  int64_t batch, head_step, token_step;
  std::vector<Row> rows = {};  // for separate buffers: one per row, instead of data and head_step
  T* at(int64_t b, int64_t head, int64_t token) const {
    if (rows.empty()) return data + b * batch + head * head_step + token * token_step;
    const Row& row = rows[static_cast<size_t>(b)];
    return row.data + head * row.head_step + token * token_step;
  }
};

/// The place of keys or values. Steps count bytes.
struct KeyRows {
  HeadRows<const char> stored;
  std::optional<HeadRows<const char>> fresh;  // the queries' own tokens, if they are not stored yet
  FloatType type = kFloat32;
};

/// One attention: the queries are the last `length` tokens of each row.
struct AttentionProblem {
  int64_t batch, heads, kv_heads, length, head_dim, value_dim;
  std::vector<int64_t> tokens;  // keys of each row, at positions [0, tokens)
  float scale;
  bool causal;  // query i of row b sees the first tokens[b] - length + i + 1 keys
  HeadRows<const float> q;
  KeyRows k, v;
  HeadRows<float> out;
  float soft_cap = 0;  // scores become cap * tanh(score / cap); 0: unchanged
  // A query sees only the newest window - keep of those and the first keep; not causal: those less than window away; 0:
  // all
  int64_t window = 0;
  int64_t keep = 0;
  // the number of stored slots: later positions overwrite the slots of earlier ones, except the first keep; 0: all are
  // stored
  int64_t ring = 0;
  const float* sinks = nullptr;         // [heads]: a score that counts in the sum of weights but has no value
  const float* query_scales = nullptr;  // factor of query i of row b: [b * query_scale_row + i]
  int64_t query_scale_row = 0;
  /// An explicit mask: bool (true: seen) or additive float at data + b, head, query, position steps; or none.
  const void* mask = nullptr;
  bool mask_is_bool = false;
  int64_t mask_steps[4] = {};
  std::vector<int64_t> lengths = {};  // the number of queries of each row, at most `length`; empty: all have `length`
  /// A bias by the distance of the key from the query, from -distances to distances; beyond, the nearest entry applies:
  /// [heads, 2 * distances + 1]; or none.
  const float* distance_bias = nullptr;
  int64_t distances = 0;

  int64_t slot_of(int64_t position) const {
    return ring == 0 || position < ring ? position : keep + (position - keep) % (ring - keep);
  }
  int64_t length_of(int64_t b) const { return lengths.empty() ? length : lengths[static_cast<size_t>(b)]; }
  /// The position of query `i` of row b.
  int64_t position_of(int64_t b, int64_t i) const { return tokens[static_cast<size_t>(b)] - length_of(b) + i; }
};

/// out = softmax(scale · q kᵀ + mask) v in float32; zeros where a query sees nothing. Keys are processed in the order
/// of their positions: within a phase a query's bits depend neither on its neighbours, nor on the number of threads,
/// nor on where the keys are stored. Runs on all kernel threads; call it from one thread at a time.
void attend(const AttentionProblem& problem, Phase phase);

}  // namespace mlxk
