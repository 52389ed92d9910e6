#include "cpu/phase.h"

namespace mlxk {

namespace {
thread_local Phase phase = Phase::decode;
}

Phase current_phase() { return phase; }

PhaseScope::PhaseScope(Phase wanted) : before_(phase) { phase = wanted; }

PhaseScope::~PhaseScope() { phase = before_; }

}  // namespace mlxk
