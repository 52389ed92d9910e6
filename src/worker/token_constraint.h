#pragma once

#include <cstdint>
#include <span>

namespace mlxk {

/// Restricts the next token, as a grammar does. Called on the worker thread only.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;
  /// Sets bit i of `mask` (ceil(vocab / 32) words) for every token id allowed next.
  virtual void allowed(std::span<uint32_t> mask) = 0;
  /// Takes the chosen token; false when it breaks the grammar.
  virtual bool accept(int32_t token) = 0;
};

}  // namespace mlxk
