#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "media/sample_source.h"

namespace mlxk {

/// Samples in memory, which must outlive this object.
class SpanSource : public SampleSource {
 public:
  explicit SpanSource(std::span<const float> samples) : samples_(samples) {}
  size_t read(std::span<float> into) override {
    const auto next = samples_.subspan(at_, std::min(into.size(), samples_.size() - at_));
    std::copy(next.begin(), next.end(), into.begin());
    at_ += next.size();
    return next.size();
  }
  bool rewind() override {
    at_ = 0;
    return true;
  }

 private:
  std::span<const float> samples_;
  size_t at_ = 0;
};

}  // namespace mlxk
