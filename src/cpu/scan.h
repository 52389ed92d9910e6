#pragma once

#include <cstdint>

namespace mlxk {

/// Recurrences over tokens, for rows that each have their own length. Runs on all kernel threads; call it from one
/// thread at a time. A row's bits depend neither on the others nor on how its tokens are split into calls. Past a row's
/// length y is 0.

/// Vectors of a batch's tokens: row r's token t is at data + r * row + t * token.
struct TokenVectors {
  const float* data;
  int64_t row, token;
  const float* at(int64_t r) const { return data + r * row; }
};

/// The selective scan of Mamba: with dt = softplus(dt + dt_bias), within [dt_min, dt_max], a head's state becomes
/// exp(dt · a) h + dt · x bᵀ, and y = h c + skip · x.
struct SelectiveScanProblem {
  int64_t rows, length, heads, dim, groups, states;  // `heads / groups` adjacent heads share b and c
  const int64_t* lengths;                            // [rows]
  TokenVectors x;                                    // [heads * dim]
  TokenVectors dt;                                   // [heads]
  TokenVectors b, c;                                 // [groups * states]
  const float* a;                                    // negative: [heads]; by_state: [states, heads], dim and groups 1
  bool by_state;
  const float* dt_bias;  // [heads]; null: zeros
  const float* skip;     // [heads]
  float dt_min, dt_max;
  const float* before;  // [rows, heads, dim, states]; by_state: [rows, states, heads]; null: zeros
  float* h;             // the state after the row's tokens
  float* y;             // [rows, length, heads * dim]
};
void selective_scan(const SelectiveScanProblem& problem);

/// The delta rule of RWKV-7: a head's state becomes h · diag(w) + v kᵀ + (h a) bᵀ, and y = h r; r, w, k, v, a, b and y
/// are [rows, length, heads * dim].
struct DeltaRuleProblem {
  int64_t rows, length, heads, dim;
  const int64_t* lengths;  // [rows]
  const float *r, *w, *k, *v, *a, *b;
  const float* before;  // [rows, heads, dim, dim]; null: zeros
  float* h;             // the state after the row's tokens
  float* y;
};
void delta_rule(const DeltaRuleProblem& problem);

/// y = h = a · h + x, number by number: a, x and y [rows, length, width], before (null: zeros) and h [rows, width].
void linear_recurrence(int64_t rows, int64_t length, int64_t width, const int64_t* lengths, const float* a,
                       const float* x, const float* before, float* h, float* y);

}  // namespace mlxk
