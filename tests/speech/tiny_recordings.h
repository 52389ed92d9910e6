#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "media/sample_source.h"
#include "models/testing/golden_model.h"

namespace mlxk::testing {

/// The sound of the golden scripts of tools/: chirps in a hiss, with a pause in the middle.
inline std::vector<float> golden_sound(int64_t count) {
  std::vector<float> x;
  for (int64_t i = 0; i < count; ++i) {
    float value = static_cast<float>((i * i * 7 + i * 13) % 2003 - 1001) / 4096.0F;
    value *= static_cast<float>(i % 9001) / 9001.0F;
    value += static_cast<float>(i * (i / 1600 % 23 + 3) % 97 - 48) / 200.0F;
    x.push_back(i >= count / 3 && i < count / 2 ? 0 : value);
  }
  return x;
}

/// Gives `samples` in pieces.
class Samples : public SampleSource {
 public:
  explicit Samples(std::vector<float> samples) : samples_(std::move(samples)) {}
  size_t read(std::span<float> into) override {
    const size_t count = std::min({into.size(), samples_.size() - at_, size_t{7000}});
    std::copy_n(samples_.begin() + static_cast<int64_t>(at_), count, into.begin());
    at_ += count;
    return count;
  }

 private:
  std::vector<float> samples_;
  size_t at_ = 0;
};

/// Compares with the values that a golden keeps of an array, whose error may be `tolerance` times themselves or one.
inline void expect_near(std::span<const float> got, const Json& wanted, float tolerance = 1e-3F) {
  size_t count = 1;
  for (const size_t side : wanted["shape"]) count *= side;
  ASSERT_EQ(got.size(), count);
  const size_t step = wanted["step"];
  for (size_t i = 0; i < wanted["values"].size(); ++i) {
    const float value = wanted["values"][i];
    ASSERT_NEAR(got[i * step], value, tolerance * std::max(1.0F, std::abs(value))) << "at " << i * step;
  }
}

/// Writes the model of a golden and its files.
inline std::filesystem::path write_recogniser(const Json& golden, const std::string& name) {
  const auto folder = golden::write_case(golden, golden::temp_folder(name));
  for (const auto& [file, content] : golden["files"].items()) {
    std::ofstream(folder / file) << (content.is_string() ? content.get<std::string>() : content.dump());
  }
  return folder;
}

}  // namespace mlxk::testing
