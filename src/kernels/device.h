#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cpu/experts.h"
#include "cpu/rotation.h"
#include "kernels/activation.h"
#include "mlx/array.h"

namespace mlxk {

namespace mx = mlx::core;

/// The seam between blocks and devices: a table of operations for each device. If an entry is null, or an operation
/// that may decline returns null, the block runs as a chain of libmlx's operations.

/// A matrix of a checkpoint.
struct MatrixWeights {
  mx::array weight;                         // [rows, columns] of floats, or packed in uint32
  std::optional<mx::array> scales, biases;  // packed: [rows, columns / group] of one float type; or uint8 scales alone
  std::optional<mx::array> bias;            // [rows] of the activations' type
  int rows, columns;
  int bits = 0, group = 0;  // 0: not packed
};

/// A norm of rows, its factor and offset [columns] in the activations' type.
struct NormWeights {
  mx::array weight;
  float eps;
  bool centred = false;                // by mean and variance (layer norm), else by the root mean square
  std::optional<mx::array> bias = {};  // of a centred one
};

/// The weights of one operation in a device's form, checked once: graphs refer to them as a whole.
struct PackedLayer {
  virtual ~PackedLayer() = default;
};
using Packed = std::shared_ptr<const PackedLayer>;

/// The parts of a mixture. Stacks are matrices whose arrays have the experts as an additional first axis: weight
/// [experts, rows, columns] or packed, bias [experts, rows].
struct MixtureWeights {
  MatrixWeights gate, up, down;
  Activation activation = {};
  std::optional<NormWeights> norm;                       // of the input of the router and the experts
  std::optional<MatrixWeights> router;                   // [experts, hidden]
  RoutingRule rule;                                      // its pointers are replaced by the arrays below
  std::optional<mx::array> selection_bias;               // [experts] float32
  std::optional<mx::array> expert_scale = std::nullopt;  // [experts] float32
};

/// A layer's attention step: queries, keys and values from the projections, [B, L, heads * dim]. Row b's tokens are at
/// positions[b] on, the keys before them are in the buffers.
struct AttentionStep {
  mx::array q, k, v;
  int head_dim;
  float scale;
  std::vector<int> positions;  // of each row's first token
  std::vector<int> lengths;    // valid tokens of each row's L
  int value_dim = 0;           // of the values' heads; 0: head_dim
  Rotation rotation = {};
  std::optional<NormWeights> q_norm = {}, k_norm = {};                      // of each head, before the rotation
  std::optional<NormWeights> post_rope_q_norm = {}, post_rope_k_norm = {};  // and after it
  float soft_cap = 0;        // scores become cap · tanh(score / cap); 0: unchanged
  int window = 0, keep = 0;  // a query sees the newest tokens and the first `keep`, `window` in all; 0: all
  bool reads = false;        // k and v are absent: the buffers hold the L tokens already
  bool ring = false;  // the buffers hold `window` tokens: newer ones overwrite older ones except the first `keep`
  std::optional<mx::array> rotary_positions = {};  // [B, L] or [axes, B, L] int32: replaces `positions` for rope
  std::optional<mx::array> query_scale = {};       // [B or 1, 1, L, 1]: multiplied onto the queries
  std::optional<mx::array> sinks = {};  // [heads] float32: a score that counts in each sum of weights but has no value
  // [B or 1, heads or 1, L, T >= every position] bool or float32: replaces causality
  std::optional<mx::array> mask = {};
};

/// The projections of latent attention, [B, L, …], and what becomes of them.
struct LatentHeads {
  mx::array q;              // [B, L, heads * (nope + rope_dim)]
  mx::array kv;             // [B, L, latent + rope_dim]
  NormWeights latent_norm;  // by the root mean square
  Packed embed_q;           // of pack_stack: per head [latent, nope]
  int rope_dim;
  Rotation rotation;           // of the last rope_dim numbers
  std::vector<int> positions;  // of each row's first token
};

struct AttentionResult {
  mx::array out;                        // [B, L, heads * value_dim]
  std::vector<mx::array> keys, values;  // the buffers after the step
};

/// Strides and similar parameters of a convolution, for height and width.
struct ConvOptions {
  std::pair<int, int> stride{1, 1}, padding{0, 0}, dilation{1, 1};
  int groups = 1;
};

/// The result of a recurrence over a call's tokens; of row b the first lengths[b] tokens are valid.
struct Scanned {
  mx::array y;      // [B, L, ...]; undefined past a row's length
  mx::array state;  // after each row's tokens
};

/// The selective scan of Mamba (https://arxiv.org/abs/2312.00752): dt = softplus(dt + dt_bias) within [dt_min, dt_max],
/// each head's state becomes exp(dt · a) h + dt · x bᵀ, and y = h c + skip · x.
struct SelectiveScan {
  mx::array x;     // [B, L, heads * dim]
  mx::array dt;    // [B, L, heads]
  mx::array b, c;  // [B, L, groups * states]; `heads / groups` adjacent heads share them
  int groups;
  mx::array a;                       // float32, negative: [heads]; or [states, heads], where dim and groups are 1
  mx::array skip;                    // [heads] float32
  std::optional<mx::array> dt_bias;  // [heads] float32
  float dt_min, dt_max;
  std::optional<mx::array> state;  // [B, heads, dim, states]; or [B, states, heads]; absent: zeros
  std::vector<int> lengths;
};

/// The delta rule of RWKV-7 (https://arxiv.org/abs/2503.14456): each head's state becomes
/// h · diag(w) + v kᵀ + (h a) bᵀ, and y = h r.
struct DeltaRule {
  mx::array r, w, k, v, a, b;      // [B, L, heads, dim]
  std::optional<mx::array> state;  // [B, heads, dim, dim]; absent: zeros
  std::vector<int> lengths;
};

/// h = a · h + x element by element, and y = h.
struct LinearRecurrence {
  mx::array a, x;                  // [B, L, ...]
  std::optional<mx::array> state;  // [B, ...]; absent: zeros
  std::vector<int> lengths;
};

struct LayerOps {
  const char* name = "none";
  /// Whether activations of that type are supported.
  bool (*takes)(mx::Dtype type) = nullptr;

  /// The weights of one of the operations below; null if their form is not supported. Throws invalid_argument if arrays
  /// do not match.
  Packed (*pack)(std::vector<MatrixWeights> matrices, std::optional<NormWeights> norm,
                 std::optional<NormWeights> post_norm) = nullptr;
  /// norm(x) times each matrix: x [..., columns] → one [..., rows] for each.
  std::vector<mx::array> (*matmuls)(const mx::array& x, Packed layer) = nullptr;
  /// residual + multiplier · post_norm(x · matrix): x [..., columns], residual [..., rows].
  mx::array (*matmul_residual)(const mx::array& x, Packed layer, float multiplier, const mx::array& residual) = nullptr;
  /// Whether the operations below support that activation.
  bool (*knows)(const Activation& activation) = nullptr;
  /// x + multiplier · post_norm(down(act(gate(norm(x))) · up(norm(x)))) with the matrices gate, up and down.
  mx::array (*gated_mlp)(const mx::array& x, Packed layer, const Activation& activation, float multiplier) = nullptr;
  /// x + down(act(up(norm(x)))) with the matrices up and down.
  mx::array (*mlp)(const mx::array& x, Packed layer, const Activation& activation) = nullptr;
  /// act(x).
  mx::array (*activate)(const mx::array& x, const Activation& activation) = nullptr;

  /// Like pack, for a mixture.
  Packed (*pack_mixture)(MixtureWeights mixture) = nullptr;
  /// residual + multiplier · the weighted sum of the experts that the router chooses for norm(x): x and residual [...,
  /// hidden]; x is the residual unless one is given.
  mx::array (*mixture)(const mx::array& x, Packed mixture, float multiplier,
                       const std::optional<mx::array>& residual) = nullptr;
  /// y[…, j] = stack[ids[…, j]] · x[…]: x [..., columns], ids [..., k] uint32 → [..., k, rows].
  mx::array (*chosen_matmul)(const mx::array& x, const mx::array& ids, const Packed& stack) = nullptr;
  /// Like pack, for one stack of the operations with stacks.
  Packed (*pack_stack)(const MatrixWeights& stack) = nullptr;

  /// Queries [B, L, heads * (latent + rope_dim)], each head's first numbers times its matrix, and keys [B, L, latent +
  /// rope_dim], the latent normalised; both rotated.
  std::pair<mx::array, mx::array> (*latent_heads)(const LatentHeads& heads) = nullptr;
  /// Each head's matrix times its numbers: x [B, L, heads * columns] → [B, L, heads * rows].
  mx::array (*head_matmul)(const mx::array& x, const Packed& stack) = nullptr;

  /// Whether attention_step supports this step; null: it supports all.
  bool (*attends)(const AttentionStep& step) = nullptr;
  /// Norm, rotation, append and attention of all rows: writes keys and values into the buffers [rows, kv_heads,
  /// capacity, dim] in place, even if others hold them, and attends. The rows of all buffers together, in order, are
  /// the B rows; capacities may differ. Without value buffers the values are the first value_dim numbers of the keys.
  AttentionResult (*attention_step)(AttentionStep step, const std::vector<mx::array>& keys,
                                    const std::vector<mx::array>& values) = nullptr;
  /// softmax(scale · q kᵀ + mask) v: q [B, heads, L, dim], k and v [B, kv_heads, T, dim]; mode and mask as in
  /// scaled_dot_product_attention.
  mx::array (*attention)(const mx::array& q, const mx::array& k, const mx::array& v, float scale,
                         const std::string& mode, const std::optional<mx::array>& mask) = nullptr;
  /// The same without masks: q [B, L, heads * dim], k and v [B, T, heads * dim] → [B, L, heads * dim].
  mx::array (*head_attention)(const mx::array& q, const mx::array& k, const mx::array& v, int heads,
                              float scale) = nullptr;
  /// x [1, T, heads * dim] as the [1, heads, T, dim] that cross_attention reads.
  mx::array (*by_heads)(const mx::array& x, int heads) = nullptr;
  /// The same attention to those: row r of q [B, L, heads * dim] sees keys[of[r]] and values[of[r]].
  mx::array (*cross_attention)(const mx::array& q, const std::vector<mx::array>& keys,
                               const std::vector<mx::array>& values, std::vector<int> of, float scale) = nullptr;
  /// scale · q kᵀ of one row and one head: q [1, L, heads * dim] → [L, T].
  mx::array (*cross_scores)(const mx::array& q, const mx::array& k, int head, float scale) = nullptr;

  /// Rows `ids` [...] int32 of a table: [..., columns]; an id outside gives NaN. nullopt if the table's form is not
  /// supported.
  std::optional<mx::array> (*lookup)(const mx::array& ids, const MatrixWeights& table) = nullptr;
  /// A norm of each row of x [..., columns].
  mx::array (*norm)(const mx::array& x, const NormWeights& norm) = nullptr;
  /// The convolution with weight [out, kernel height, kernel width, in / groups] and bias [out]: packed, and applied to
  /// x [B, H, W, in].
  Packed (*pack_conv)(const mx::array& weight, const std::optional<mx::array>& bias,
                      const ConvOptions& options) = nullptr;
  mx::array (*conv)(const mx::array& x, Packed conv) = nullptr;
  /// Recurrences, token by token: a row's bits do not depend on how its tokens are split into calls.
  Scanned (*selective_scan)(const SelectiveScan& scan) = nullptr;
  Scanned (*delta_rule)(const DeltaRule& rule) = nullptr;
  Scanned (*linear_recurrence)(const LinearRecurrence& recurrence) = nullptr;
};

/// The operations of libmlx's default device; a device without any has a table of nulls.
const LayerOps& layer_ops();

/// Replaces the operations by `ops` on this thread during its lifetime, to test chains on devices that have operations.
class LayerOpsScope {
 public:
  explicit LayerOpsScope(const LayerOps& ops);
  ~LayerOpsScope();
  LayerOpsScope(const LayerOpsScope&) = delete;
  LayerOpsScope& operator=(const LayerOpsScope&) = delete;

 private:
  const LayerOps* before_;
};

}  // namespace mlxk
