#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/phase.h"

namespace mlxk {

/// Where the head vectors of queries, keys, values or results lie: element (b, head, token) starts at
/// data + b * batch + head * head_step + token * token_step, its numbers are contiguous. Rows that lie apart (the caches
/// of several sequences) have a place and head_step each.
template <class T>
struct HeadRows {
  struct Row {
    T* data;
    int64_t head_step;
  };

  T* data;
  int64_t batch, head_step, token_step;
  std::vector<Row> rows = {};  // where they lie apart: of each row, in place of data and head_step
  T* at(int64_t b, int64_t head, int64_t token) const {
    if (rows.empty()) return data + b * batch + head * head_step + token * token_step;
    const Row& row = rows[static_cast<size_t>(b)];
    return row.data + head * row.head_step + token * token_step;
  }
};

/// One attention: the queries' length tokens are the last of each row's.
struct AttentionProblem {
  int64_t batch, heads, kv_heads, length, head_dim, value_dim;
  std::vector<int64_t> tokens;  // keys of each row
  float scale;
  bool causal;  // query i of row b sees the first tokens[b] - length + i + 1 keys
  HeadRows<const float> q, k, v;
  HeadRows<float> out;
  /// An explicit mask: bool (true: seen) or additive float at data + b, head, query, key steps; or none.
  const void* mask = nullptr;
  bool mask_is_bool = false;
  int64_t mask_steps[4] = {};
};

/// out = softmax(scale · q kᵀ + mask) v in float32. A query's bits depend neither on its neighbours nor, within a phase,
/// on the number of threads. On all kernel threads; from one thread at a time.
void attend(const AttentionProblem& problem, Phase phase);

}  // namespace mlxk
