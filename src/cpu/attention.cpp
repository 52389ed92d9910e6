#include "cpu/attention.h"

#include <algorithm>
#include <cstring>

#include "cpu/features.h"
#include "cpu/scratch.h"
#include "cpu/threads.h"

namespace mlxk {

namespace {

// Keys are processed in chunks that begin at multiples of this, whatever else is computed: a query's bits depend on its
// keys' positions and not on their place in memory.
constexpr int64_t kChunk = 256;
// Queries times heads that a thread processes at a time: enough to repay packing the keys into panels.
constexpr int64_t kRowsAtOnce = 192;
// With fewer blocks than this, their chunks are shared out to the threads as well.
constexpr int64_t kBlocksAThread = 2;

/// Queries [first, first + count) of the heads that share a kv head: row r is query first + r % count of head r /
/// count.
struct QueryBlock {
  int64_t b, kv_head, first, count, rows;
};

struct Range {
  int64_t begin, end;
};

/// The running result over the keys seen so far: for each row its largest score, the sum of the weights and the
/// weighted values.
struct Part {
  float *most, *sums, *values;
};

int64_t part_floats(const AttentionProblem& p, int64_t rows) { return rows * (p.value_dim + 2); }
Part part_in(float* memory, int64_t rows) { return {memory, memory + rows, memory + 2 * rows}; }

Scratch& thread_scratch(int which, int thread) {
  constexpr int kKinds = 6;
  static std::vector<Scratch> scratch(static_cast<size_t>(kKinds * kernel_threads()));
  return scratch[static_cast<size_t>(kKinds * thread + which)];
}

/// The positions that query `i` sees, besides the first `keep`.
Range seen_by(const AttentionProblem& p, int64_t b, int64_t i) {
  const int64_t tokens = p.tokens[static_cast<size_t>(b)], at = p.position_of(b, i);
  const int64_t end = p.causal ? at + 1 : p.window > 0 ? at + p.window : tokens;
  return {p.window > 0 ? std::max<int64_t>(0, at + 1 - (p.window - p.keep)) : 0, std::clamp<int64_t>(end, 0, tokens)};
}

Range seen_by(const AttentionProblem& p, const QueryBlock& block) {
  return {seen_by(p, block.b, block.first).begin, seen_by(p, block.b, block.first + block.count - 1).end};
}

/// The part of the chunk that the block sees.
Range seen_in(const AttentionProblem& p, const QueryBlock& block, int64_t chunk) {
  const Range seen = seen_by(p, block);
  Range part{std::max(seen.begin, chunk * kChunk), std::min(seen.end, (chunk + 1) * kChunk)};
  if (chunk * kChunk < p.keep) part.begin = chunk * kChunk;
  return part;
}

/// Row b's keys or values at [range): in place if they are contiguous, else copied in order to `storage`.
HeadSpan span_of(const AttentionProblem& p, const KeyRows& rows, int64_t b, int64_t head, int64_t dim, Range range,
                 Scratch& storage) {
  const int64_t fresh = rows.fresh ? p.position_of(b, 0) : range.end;
  const auto run = [&](int64_t at, int64_t* count) {
    const bool is_fresh = at >= fresh;
    const HeadRows<const char>& from = is_fresh ? *rows.fresh : rows.stored;
    const int64_t slot = is_fresh ? at - fresh : p.slot_of(at);
    *count = std::min(range.end, is_fresh ? range.end : fresh) - at;
    if (!is_fresh && p.ring > 0) *count = std::min(*count, p.ring - slot);
    return from.at(b, head, slot);
  };
  const int64_t item = rows.type == kFloat32 ? 4 : 2, tokens = range.end - range.begin;
  int64_t count = 0;
  const char* first = run(range.begin, &count);
  if (count == tokens) {
    const bool is_fresh = range.begin >= fresh;
    return {first, (is_fresh ? *rows.fresh : rows.stored).token_step / item, tokens, rows.type};
  }
  char* to = static_cast<char*>(storage.bytes(static_cast<size_t>(kChunk * dim * item)));
  for (int64_t at = range.begin; at < range.end; at += count) {
    const char* from = run(at, &count);
    const int64_t step = (at >= fresh ? *rows.fresh : rows.stored).token_step;
    for (int64_t t = 0; t < count; ++t) {
      std::memcpy(to + (at - range.begin + t) * dim * item, from + t * step, static_cast<size_t>(dim * item));
    }
  }
  return {to, dim, tokens, rows.type};
}

/// Masks the scores that a row must not see; the scores are those of positions `begin` on.
void hide(const AttentionProblem& p, float* scores, int64_t begin, int64_t width, int64_t b, int64_t head, int64_t i) {
  const Range seen = seen_by(p, b, i);
  if (p.distance_bias) {
    const float* bias = p.distance_bias + head * (2 * p.distances + 1) + p.distances;
    const int64_t first = begin - p.position_of(b, i);  // the distance of the first of these keys from the query
    for (int64_t t = 0; t < width; ++t) scores[t] += bias[std::clamp(first + t, -p.distances, p.distances)];
  }
  const auto fill = [&](int64_t from, int64_t to) {
    from = std::max<int64_t>(from - begin, 0);
    to = std::min(to - begin, width);
    if (from < to) std::fill(scores + from, scores + to, kMasked);
  };
  fill(p.keep, seen.begin);
  fill(seen.end, begin + width);
  if (!p.mask) return;
  const int64_t end = std::min(seen.end - begin, width), step = p.mask_steps[3];
  const int64_t at = b * p.mask_steps[0] + head * p.mask_steps[1] + i * p.mask_steps[2] + begin * step;
  if (p.mask_is_bool) {
    const bool* visible = static_cast<const bool*>(p.mask) + at;
    for (int64_t t = 0; t < end; ++t) scores[t] = visible[t * step] ? scores[t] : kMasked;
  } else {
    const float* added = static_cast<const float*>(p.mask) + at;
    for (int64_t t = 0; t < end; ++t) {
      const float sum = scores[t] + added[t * step];
      scores[t] = sum < kMasked ? kMasked : sum;  // -inf in the mask; a NaN stays
    }
  }
}

/// The part of a block's result that comes from one chunk. `q` holds its scaled queries.
void attend_chunk(const AttentionProblem& p, Phase phase, const QueryBlock& block, const float* q, int64_t chunk,
                  int thread, const Part& out) {
  const auto& kernels = cpu_kernels();
  const Range seen = seen_in(p, block, chunk);
  const int64_t group = p.heads / p.kv_heads, lanes = kernels.lanes, width = seen.end - seen.begin;
  // The vectors cover the whole chunk, whatever part of it is seen.
  const int64_t offset = seen.begin - chunk * kChunk, first = offset / lanes * lanes;
  const int64_t end = (offset + width + lanes - 1) / lanes * lanes, stride = kChunk + 3 * lanes;
  float* scores = thread_scratch(0, thread).floats(block.rows * stride);
  const HeadSpan keys = span_of(p, p.k, block.b, block.kv_head, p.head_dim, seen, thread_scratch(1, thread));
  if (phase == Phase::decode) {
    kernels.key_rows(&keys, p.head_dim, q, block.rows, scores + offset, stride);
  } else {
    void* panels = thread_scratch(2, thread).bytes(static_cast<size_t>(kernels.key_scratch(p.head_dim)));
    kernels.key_panels(&keys, p.head_dim, q, block.rows, scores + offset, stride, panels);
  }
  for (int64_t r = 0; r < block.rows; ++r) {
    float* row = scores + r * stride;
    if (p.soft_cap > 0) kernels.soft_cap(row + first, end - first, p.soft_cap);
    std::fill(row + first, row + offset, kMasked);
    hide(p, row + offset, seen.begin, end - offset, block.b, block.kv_head * group + r / block.count,
         block.first + r % block.count);
    kernels.score_weights(row + first, end - first, out.most + r, out.sums + r);
  }
  const HeadSpan values = span_of(p, p.v, block.b, block.kv_head, p.value_dim, seen, thread_scratch(1, thread));
  kernels.value_rows(&values, p.value_dim, scores + offset, stride, block.rows, out.values, p.value_dim);
}

/// The block's queries, scaled: [rows, head_dim].
const float* scaled_queries(const AttentionProblem& p, const QueryBlock& block, int thread) {
  const int64_t group = p.heads / p.kv_heads;
  float* q = thread_scratch(3, thread).floats(block.rows * p.head_dim);
  for (int64_t r = 0; r < block.rows; ++r) {
    const int64_t i = block.first + r % block.count;
    const float* from = p.q.at(block.b, block.kv_head * group + r / block.count, i);
    const float scale = p.scale * (p.query_scales ? p.query_scales[block.b * p.query_scale_row + i] : 1.0F);
    for (int64_t d = 0; d < p.head_dim; ++d) q[r * p.head_dim + d] = from[d] * scale;
  }
  return q;
}

/// The initial state holds nothing but the sinks.
void begin(const AttentionProblem& p, const QueryBlock& block, const Part& all) {
  const int64_t group = p.heads / p.kv_heads;
  for (int64_t r = 0; r < block.rows; ++r) {
    all.most[r] = p.sinks ? p.sinks[block.kv_head * group + r / block.count] : kNothingSeen;
    all.sums[r] = p.sinks ? 1.0F : 0.0F;
  }
  std::fill_n(all.values, block.rows * p.value_dim, 0.0F);
}

void join(const AttentionProblem& p, const QueryBlock& block, const Part& all, const Part& part) {
  for (int64_t r = 0; r < block.rows; ++r) {
    cpu_kernels().join_parts(all.most + r, all.sums + r, all.values + r * p.value_dim, part.most[r], part.sums[r],
                             part.values + r * p.value_dim, p.value_dim);
  }
}

void finish(const AttentionProblem& p, const QueryBlock& block, const Part& all) {
  const int64_t group = p.heads / p.kv_heads;
  for (int64_t r = 0; r < block.rows; ++r) {
    float* out = p.out.at(block.b, block.kv_head * group + r / block.count, block.first + r % block.count);
    const float inverse = all.sums[r] == 0 ? 0.0F : 1.0F / all.sums[r];
    for (int64_t d = 0; d < p.value_dim; ++d) out[d] = all.values[r * p.value_dim + d] * inverse;
  }
}

}  // namespace

void attend(const AttentionProblem& p, Phase phase) {
  if (p.batch == 0 || p.heads == 0 || p.length == 0 || p.value_dim == 0) return;
  const int64_t group = p.heads / p.kv_heads, most = *std::max_element(p.tokens.begin(), p.tokens.end());
  const int64_t count = std::clamp<int64_t>(kRowsAtOnce / group, 1, p.length), blocks = (p.length + count - 1) / count;
  const int64_t chunks = std::max<int64_t>(1, (most + kChunk - 1) / kChunk), all_blocks = p.batch * p.kv_heads * blocks;
  const auto block_at = [&](int64_t item) {
    // The last queries see the most keys, so they go first.
    const int64_t head = item % (p.batch * p.kv_heads), first = (blocks - 1 - item / (p.batch * p.kv_heads)) * count;
    const int64_t b = head / p.kv_heads, here = std::clamp<int64_t>(p.length_of(b) - first, 0, count);
    return QueryBlock{b, head % p.kv_heads, first, here, here * group};
  };
  const auto sees = [&](const QueryBlock& block, int64_t chunk) {
    if (block.count == 0) return false;  // the row has fewer queries than others
    const Range seen = seen_in(p, block, chunk);
    return seen.begin < seen.end;
  };
  const int64_t floats = part_floats(p, count * group);
  if (all_blocks >= kBlocksAThread * kernel_threads()) {
    parallel_for(all_blocks, 1, [&](int64_t item, int64_t last, int thread) {
      for (; item < last; ++item) {
        const QueryBlock block = block_at(item);
        const float* q = scaled_queries(p, block, thread);
        const Part all = part_in(thread_scratch(4, thread).floats(floats), block.rows);
        const Part part = part_in(thread_scratch(5, thread).floats(floats), block.rows);
        begin(p, block, all);
        for (int64_t chunk = 0; chunk < chunks; ++chunk) {
          if (!sees(block, chunk)) continue;
          attend_chunk(p, phase, block, q, chunk, thread, part);
          join(p, block, all, part);
        }
        finish(p, block, all);
      }
    });
    return;
  }
  // With few blocks, their chunks are shared out, and merged in the same order.
  static Scratch part_scratch;
  float* parts = part_scratch.floats(all_blocks * chunks * floats);
  const int64_t cost = count * group * std::min(most, kChunk) * (p.head_dim + p.value_dim);
  parallel_for(all_blocks * chunks, grain_of(cost), [&](int64_t item, int64_t last, int thread) {
    for (; item < last; ++item) {
      const QueryBlock block = block_at(item / chunks);
      if (!sees(block, item % chunks)) continue;
      const Part part = part_in(parts + item * floats, block.rows);
      attend_chunk(p, phase, block, scaled_queries(p, block, thread), item % chunks, thread, part);
    }
  });
  parallel_for(all_blocks, grain_of(count * group * chunks * p.value_dim), [&](int64_t item, int64_t last, int thread) {
    for (; item < last; ++item) {
      const QueryBlock block = block_at(item);
      const Part all = part_in(thread_scratch(4, thread).floats(floats), block.rows);
      begin(p, block, all);
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        if (sees(block, chunk)) join(p, block, all, part_in(parts + (item * chunks + chunk) * floats, block.rows));
      }
      finish(p, block, all);
    }
  });
}

}  // namespace mlxk
