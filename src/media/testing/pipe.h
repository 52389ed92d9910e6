#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "media/byte_source.h"

namespace mlxk::testing {

/// Bytes that arrive at most `piece` at a time and cannot be read twice.
class Pipe : public ByteSource {
 public:
  Pipe(std::vector<uint8_t> bytes, size_t piece) : bytes_(std::move(bytes)), piece_(piece) {}
  size_t read(std::span<uint8_t> into) override {
    const size_t count = std::min({into.size(), bytes_.size() - at_, piece_});
    std::copy_n(bytes_.begin() + static_cast<int64_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }
  bool seek(uint64_t) override { return false; }
  std::optional<uint64_t> size() const override { return std::nullopt; }

 private:
  std::vector<uint8_t> bytes_;
  size_t piece_, at_ = 0;
};

}  // namespace mlxk::testing
