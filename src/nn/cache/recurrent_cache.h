#pragma once

#include <optional>
#include <vector>

#include "nn/cache/cache.h"
#include "nn/positions.h"

namespace mlxk {

/// The state of a recurrent layer: a fixed number of arrays [B, …] that each call replaces (a convolution's last
/// inputs, the state of a linear attention). It cannot be trimmed; snapshots are cheap.
class RecurrentCache : public Cache {
 public:
  RecurrentCache(int rows, int arrays) : Cache(rows), state_(arrays) {}

  std::string_view kind() const override { return "recurrent"; }
  bool can_trim(int n) const override { return n == 0; }
  void trim(int n) override;
  std::unique_ptr<Cache> snapshot() const override { return std::unique_ptr<Cache>(new RecurrentCache(*this)); }
  /// The states of the parts, copied into one array; unbatch() copies them back.
  std::unique_ptr<Cache> batch(std::span<Cache* const> parts) const override;
  void unbatch() override;
  std::vector<mx::array> arrays() const override;
  void restore(std::vector<mx::array> arrays, int tokens) override;

  /// The array `index`; absent before the first call.
  const std::optional<mx::array>& state(int index) const { return state_.at(index); }
  void set_state(int index, mx::array value) { state_.at(index) = std::move(value); }
  /// Advances the rows by the call's lengths.
  void advance(const Positions& positions);

 private:
  std::vector<std::optional<mx::array>> state_;
  std::vector<RecurrentCache*> parts_;  // the caches of these rows; empty: its own
};

}  // namespace mlxk
