#pragma once

namespace mlxk {

/// What a forward pass is for. Kernels are chosen by it and not by the number of rows, so that a row's bits do not
/// depend on what else is computed with it. `encode`: as prefill, of an encoder, which was trained in float16: products
/// of floats may be rounded like those.
enum class Phase { prefill, decode, encode };

/// The phase of graphs built on this thread; decode unless a PhaseScope says otherwise.
Phase current_phase();

/// Sets the phase for as long as it lives.
class PhaseScope {
 public:
  explicit PhaseScope(Phase phase);
  ~PhaseScope();
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Phase before_;
};

}  // namespace mlxk
