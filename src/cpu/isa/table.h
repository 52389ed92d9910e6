#pragma once

// The CPU kernels as plain functions over buffers, one table for each instruction set. This header and everything that
// the tables' sources include avoid the C++ library: one of its inline functions, compiled for one instruction set,
// could be linked everywhere.
#include <stdint.h>

namespace mlxk {

/// The type of float weights, of scales and of biases. The last two types are for scales only, one byte each: 2^(byte -
/// 127), and a float with 4 exponent bits and 3 mantissa bits.
enum FloatType : int32_t { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2, kScaleE8M0 = 3, kScaleE4M3 = 4 };

/// A value for a weight's bits: four bits that are an e2m1 float.
constexpr int kFp4 = -4;

/// Instead of a weight's bits, for activations as signed bytes (encode, with weights of 8 bits).
constexpr int kBytes = -8;

/// A weight matrix packed by MLX, LSB first along a row. Affine: value = scale * q + bias, with q of `bits` bits. With
/// byte scales: value = scale * q, with q an e2m1 (4 bits) or e4m3 (8 bits) float.
struct AffineWeight {
  const uint8_t* packed;  // [rows, columns * bits / 8]
  const void* scales;     // [rows, columns / group] of `type`
  const void* biases;     // the same; unused with byte scales
  int64_t rows, columns;  // columns is a multiple of group
  int32_t bits;           // 2, 3, 4, 5, 6, 8
  int32_t group;          // 16, 32, 64, 128
  FloatType type;
};

/// A weight matrix of floats, row-major.
struct FloatWeight {
  const void* data;  // [rows, columns] of `type`
  int64_t rows, columns;
  int64_t stride;  // elements from one row to the next
  FloatType type;
};

/// Keys or values of one kv head in order: token t at data + t * stride elements.
struct HeadSpan {
  const void* data;
  int64_t stride, tokens;
  FloatType type;
};

/// The score of a masked key, finite, so that it differs from a NaN among the scores; and the largest score if nothing
/// was seen.
constexpr float kMasked = -1e30F, kNothingSeen = -1e29F;

/// Rows of activations as 16-bit integers with a scale for each unit of a few numbers: x = scale * q, |q| <= 32767.
/// That keeps 1.5e-5 of the unit's largest value, and products with weights of up to 8 bits are exact in 32-bit sums.
/// Where decode multiplies bytes, q is two digits of 8 bits and |q| <= 32639 (byte_rows.inc). With kBytes q is a byte
/// of up to 127.
struct QuantizedRows {
  int16_t* q;             // [rows, stride]
  float* scales;          // [rows, units], padded with zeros
  float* sums;            // the sum of scale * q in each group (byte_rows.inc: unit), [rows, groups], padded with zeros
  int64_t stride;         // int16s a row
  int64_t units, groups;  // floats a row, padded
};

/// Rows of activations rounded to 12 bits and a sign, with a scale for each 64 numbers: x = scale * q, |q| <= 4095.
struct I16Rows {
  int16_t* q;     // [rows, stride], zeros past the columns
  float* scales;  // [rows, units]
  int64_t stride, units;
  int64_t last_steps;  // steps of 16 numbers in the last unit if it is not full, else 0
};

/// The selective scan of one head: token by token its state h [dim, states], initially `before`, becomes exp(dt · a) h
/// + dt · x bᵀ, and y is h c + skip · x. Token t's vectors are t strides further.
struct ScanHead {
  const float* x;      // [dim]
  const float* dt;     // [length], not negative
  const float *b, *c;  // [states]
  float a;             // negative
  float skip;
  const float* before;  // may equal h
  float* h;
  float* y;  // [dim]
  int64_t x_stride, b_stride, c_stride, y_stride;
  int64_t dim, states, length;
};

/// The same for at most `lanes` channels, each a head of one number with a separate decay for each state: a, before and
/// h are [states, channels], rows `stride` apart. dt is softplus(dt + dt_bias) within [dt_min, dt_max].
struct ScanChannels {
  const float *x, *dt;   // [channels]
  const float *b, *c;    // [states]
  const float* a;        // negative
  const float* dt_bias;  // [channels]; null: zeros
  const float* skip;     // [channels]
  float dt_min, dt_max;
  const float* before;  // may equal h
  float* h;
  float* y;  // [channels]
  int64_t stride;
  int64_t x_stride, dt_stride, b_stride, c_stride, y_stride;
  int64_t channels, states, length;
};

/// The delta rule of one head: token by token its state h [dim, dim], initially `before`, becomes h · diag(w) + v kᵀ +
/// (h a) bᵀ, and y is h r. Token t's vectors [dim] are t strides further.
struct DeltaHead {
  const float *r, *w, *k, *v, *a, *b;
  const float* before;  // may equal h
  float* h;
  float* y;
  int64_t stride, dim, length;
};

/// The number of thresholds that row_masses tests in one pass.
constexpr int kThresholds = 8;

struct CpuKernels {
  const char* name;
  int lanes;  // floats in a vector; a panel has that many weight rows

  /// Sets stride, units and groups for rows of `columns`: for decode with weights of `bits` bits (or kFp4), for prefill
  /// with bits 0, for byte_panels with kBytes.
  void (*row_layout)(int64_t columns, int group, int bits, QuantizedRows* rows);

  /// Quantises x [columns] into row `row` of `out`; bits > 0: in the order in which that packing is unpacked (decode),
  /// 0 and kBytes: in natural order (prefill and encode).
  void (*quantize_row)(const float* x, int64_t columns, int group, int bits, const QuantizedRows* out, int64_t row);

  /// Decode: y[r * y_stride + i] for activation rows r in [0, n) and weight rows i in [begin, end).
  void (*affine_rows)(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin, int64_t end, float* y,
                      int64_t y_stride);
  /// Prefill: the same for whole panels of `lanes` weight rows (the last may be short). `scratch` holds
  /// affine_scratch(columns, group) bytes, aligned to 64. `kept` is null, or all panels of the matrix as affine_keep
  /// unpacked them, in affine_kept_bytes bytes.
  void (*affine_panels)(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin_panel,
                        int64_t end_panel, float* y, int64_t y_stride, void* scratch, const void* kept);
  int64_t (*affine_scratch)(int64_t columns, int group);
  int affine_piece;  // weight rows for which affine_panels reads the activations once
  int64_t (*affine_kept_bytes)(int64_t rows, int64_t columns, int group);
  /// Panels from an even one to an even one or the last.
  void (*affine_keep)(const AffineWeight* w, int64_t begin_panel, int64_t end_panel, void* kept, void* scratch);
  /// The same for weights of 8 bits in groups of 32 or more and activations as bytes; null without an instruction that
  /// multiplies bytes.
  void (*byte_panels)(const AffineWeight* w, const QuantizedRows* x, int64_t n, int64_t begin_panel, int64_t end_panel,
                      float* y, int64_t y_stride, void* scratch, const void* kept);
  int64_t (*byte_kept_bytes)(int64_t rows, int64_t columns, int group);
  void (*byte_keep)(const AffineWeight* w, int64_t begin_panel, int64_t end_panel, void* kept, void* scratch);

  /// Decode and prefill with float weights; x [n, columns] float32.
  void (*float_rows)(const FloatWeight* w, const float* x, int64_t n, int64_t begin, int64_t end, float* y,
                     int64_t y_stride);
  void (*float_panels)(const FloatWeight* w, const float* x, int64_t n, int64_t begin_panel, int64_t end_panel,
                       float* y, int64_t y_stride, void* scratch);
  int64_t (*float_scratch)(int64_t columns);

  /// Encode with float weights, which are rounded to 13 bits and a sign. The functions set stride and units for rows of
  /// `columns`; fill row `row` of `out`; compute y = x · wᵀ + bias (or null) for whole panels, with `scratch` of
  /// i16_scratch(columns) bytes and kept panels as for affine_panels.
  void (*i16_layout)(int64_t columns, I16Rows* rows);
  void (*i16_row)(const float* x, int64_t columns, const I16Rows* out, int64_t row);
  void (*i16_panels)(const FloatWeight* w, const float* bias, const I16Rows* x, int64_t n, int64_t begin_panel,
                     int64_t end_panel, float* y, int64_t y_stride, void* scratch, const void* kept);
  int64_t (*i16_kept_bytes)(int64_t rows, int64_t columns);
  void (*i16_keep)(const FloatWeight* w, int64_t begin_panel, int64_t end_panel, void* kept);
  int64_t (*i16_scratch)(int64_t columns);
  /// y = softmax(scale · q kᵀ) v for n queries and one head's float32 keys and values, in the same arithmetic;
  /// `scratch` holds i16_attention_scratch(tokens, dim) bytes.
  void (*i16_attention)(const HeadSpan* k, const HeadSpan* v, int64_t dim, const float* q, int64_t q_stride, int64_t n,
                        float scale, float* y, int64_t y_stride, void* scratch);
  int64_t (*i16_attention_scratch)(int64_t tokens, int64_t dim);

  /// Decode with weights of eight bit floats (four bit floats are decoded by affine_rows), prefill with weights of four
  /// and eight bit floats; `scratch` holds fp_scratch(columns) bytes, aligned to 64.
  void (*fp8_rows)(const AffineWeight* w, const float* x, int64_t n, int64_t begin, int64_t end, float* y,
                   int64_t y_stride);
  void (*fp_panels)(const AffineWeight* w, const float* x, int64_t n, int64_t begin_panel, int64_t end_panel, float* y,
                    int64_t y_stride, void* scratch);
  int64_t (*fp_scratch)(int64_t columns);

  /// Kernels of attention: n queries [n, dim] and a range of keys or values. s[r * s_stride + t] = q[r] · k[t] in
  /// decode and in prefill; s has room for whole vectors (key_panels: pairs of them), `scratch` for key_scratch(dim)
  /// bytes.
  void (*key_rows)(const HeadSpan* k, int64_t dim, const float* q, int64_t n, float* s, int64_t s_stride);
  void (*key_panels)(const HeadSpan* k, int64_t dim, const float* q, int64_t n, float* s, int64_t s_stride,
                     void* scratch);
  int64_t (*key_scratch)(int64_t dim);
  /// s = cap * tanh(s / cap); n is a multiple of `lanes`.
  void (*soft_cap)(float* s, int64_t n, float cap);
  /// most = max(s, kNothingSeen), s = exp(s - most), exactly 0 where s was kMasked; returns the sum of s. n is a
  /// multiple of `lanes`. A NaN or an infinity makes the sum NaN.
  void (*score_weights)(float* s, int64_t n, float* most, float* sum);
  /// y[r, d] = sum over t of p[r, t] * v[t, d], in the order of t.
  void (*value_rows)(const HeadSpan* v, int64_t dim, const float* p, int64_t p_stride, int64_t n, float* y,
                     int64_t y_stride);
  /// Merges one more part into the result so far (the largest score, the sum of weights and the values y [n]).
  void (*join_parts)(float* most, float* sum, float* y, float part_most, float part_sum, const float* part, int64_t n);
  /// s = exp(s - max(s)) / sum, in place. A masked score is a large negative number, not -inf: a NaN or an infinity
  /// makes the whole row NaN.
  void (*softmax)(float* s, int64_t n);

  /// y = x * rsqrt(mean(x^2) + eps) * weight for one row.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t columns, float* y);
  /// y = (x - mean) * rsqrt(variance + eps) * weight + bias for one row; weight and bias may be null.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int64_t columns, float* y);
  /// Rotates the first 2 * pairs numbers of x in place: number i becomes x[i] * cosines[i] + partner * sines[i]. The
  /// partner is `pairs` away or, with `traditional`, the neighbour.
  void (*rotate)(float* x, const float* cosines, const float* sines, int64_t pairs, bool traditional);
  /// y = one row of a packed matrix.
  void (*unpack_row)(const AffineWeight* w, int64_t row, float* y);
  /// y = n floats of `type` from element `at` on.
  void (*unpack_floats)(const void* from, int64_t at, int64_t n, FloatType type, float* y);
  /// The reverse: n floats as `type`, to nearest.
  void (*pack_floats)(const float* x, int64_t n, FloatType type, void* to);
  /// y = act(gate) * up; activation: 0 silu, 1 gelu, 2 gelu by tanh.
  void (*gated)(const float* gate, const float* up, int64_t n, int activation, float* y);
  /// y = act(x), which may be x itself.
  void (*activate)(const float* x, int64_t n, int activation, float* y);
  /// y += x.
  void (*add)(const float* x, float scale, int64_t n, float* y);

  /// The tokens of one head, one after the other: the bits do not depend on how the tokens are split into calls.
  void (*scan_head)(const ScanHead* head);
  void (*scan_channels)(const ScanChannels* channels);
  void (*delta_head)(const DeltaHead* head);

  /// The largest of x; NaN if one is a NaN.
  float (*row_largest)(const float* x, int64_t n);
  /// w = exp((x - largest) * scale), exactly 0 from e^-87 down; returns their sum. NaN if x is a NaN or the same
  /// infinity as largest.
  float (*row_weights)(const float* x, int64_t n, float largest, float scale, float* w);
  /// masses[j] = the sum of w (of ones, if w is null) over x >= thresholds[j], which is finite; kThresholds of them.
  void (*row_masses)(const float* x, const float* w, int64_t n, const float* thresholds, float* masses);
  /// Copies the values of x in [low, high) to `values`, and the 4 bytes `beside` each (its index, if `beside` is null)
  /// to `others`; returns their number. Both have room for n, and may be x and `beside` themselves.
  int64_t (*row_select)(const float* x, const void* beside, int64_t n, float low, float high, float* values,
                        void* others);
};

}  // namespace mlxk
