#pragma once

#include <optional>

#include "mlx/array.h"
#include "nn/activation.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/packed_block.h"

namespace mlxk {

/// A linear map of normalised vectors.
struct NormLinear {
  Norm norm;
  Linear linear;
  PackedBlock packed = {};

  mx::array operator()(const mx::array& x) const;  // [..., in] → [..., out]
};

/// x + multiplier · post_norm(down(act(up(norm(x))))).
struct MlpResidual {
  std::optional<Norm> norm;
  Linear up, down;
  Activation activation = Activation::gelu;
  std::optional<Norm> post_norm = std::nullopt;
  float multiplier = 1;
  PackedBlock packed = {};

  mx::array operator()(const mx::array& x) const;  // [B, L, hidden]
  /// residual + the same for x, for parallel blocks.
  mx::array operator()(const mx::array& x, const mx::array& residual) const;
};

/// x + multiplier · post_norm(down(inner_norm(act(gate(norm(x))) · up(norm(x))))). Pass a matrix that holds gate and up
/// as its parts (Linear::split).
struct GatedMlpResidual {
  std::optional<Norm> norm;
  Linear gate, up, down;
  std::optional<Norm> post_norm = std::nullopt;
  Activation activation = Activation::silu;
  float multiplier = 1;
  std::optional<Norm> inner_norm = std::nullopt;
  PackedBlock packed = {};
  PackedBlock packed_inner = {};

  mx::array operator()(const mx::array& x) const;  // [B, L, hidden]
  /// residual + the same for x, for parallel blocks.
  mx::array operator()(const mx::array& x, const mx::array& residual) const;
  /// down(act(gate(h)) · up(h)) alone, for an h that is already normalised.
  mx::array inner(const mx::array& h) const;
};

/// residual + multiplier · x.
mx::array add_residual(const mx::array& x, const mx::array& residual, float multiplier);

}  // namespace mlxk
