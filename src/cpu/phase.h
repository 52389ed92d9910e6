#pragma once

namespace mlxk {

/// The purpose of a forward pass. It selects the kernels, instead of the number of rows, so that a row's bits do not
/// depend on the rows beside it. `encode` is prefill for an encoder, which was trained in float16: products of floats
/// may be rounded accordingly. `embed` is encode for vectors and scores of texts: beside weights of 8 bits activations
/// may have 8 bits too.
enum class Phase { prefill, decode, encode, embed };

/// Whether the pass is an encoder's.
constexpr bool encodes(Phase phase) { return phase == Phase::encode || phase == Phase::embed; }

/// The phase of graphs built on this thread; decode unless a PhaseScope says otherwise.
Phase current_phase();

/// Sets the phase during its lifetime.
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
