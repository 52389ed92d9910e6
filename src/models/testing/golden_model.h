#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/testing/test_paths.h"
#include "json/json.h"
#include "mlx/array.h"
#include "mlx/io.h"

/// The tiny models of tests/data/models; tools/make_model_goldens.py uses the same formula for their weights.
namespace mlxk::golden {

namespace fs = std::filesystem;
namespace mx = mlx::core;

/// `count` well mixed numbers that depend on the tensor's name (its FNV-1a hash).
inline std::vector<uint32_t> mixed_bits(const std::string& name, size_t count) {
  uint32_t seed = 2166136261U;
  for (unsigned char byte : name) seed = (seed ^ byte) * 16777619U;
  std::vector<uint32_t> bits(count);
  for (size_t i = 0; i < count; ++i) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761U + seed;
    x ^= x >> 16;
    x *= 0x7FEB352DU;
    x ^= x >> 15;
    x *= 0x846CA68BU;
    x ^= x >> 16;
    bits[i] = x;
  }
  return bits;
}

/// A tensor by its description ("shape", "kind" and optionally "divide", "times" or all "values").
inline mx::array tensor(const std::string& name, const Json& description) {
  std::string kind = description["kind"];
  mx::Shape shape;
  size_t count = 1;
  for (int size : description["shape"]) {
    shape.push_back(size);
    count *= size;
  }
  if (description.contains("values")) {
    const auto given = description["values"].get<std::vector<float>>();
    return mx::array(given.begin(), shape, mx::float32);
  }
  std::vector<uint32_t> bits = mixed_bits(name, count);
  if (kind == "packed8") {
    for (auto& x : bits) x &= 0xBFBFBFBFU;
  }
  if (kind == "packed" || kind == "packed8") return mx::array(bits.begin(), shape, mx::uint32);
  if (kind == "e8m0" || kind == "e4m3") {
    std::vector<uint8_t> bytes;
    for (uint32_t x : bits) bytes.push_back(kind == "e8m0" ? 122 + x % 3 : 0x20 + x % 8);
    return mx::array(bytes.begin(), shape, mx::uint8);
  }
  const float divide = description.value("divide", 1.0F), times = description.value("times", 1.0F);
  std::vector<float> values;
  for (uint32_t x : bits) {
    float unit = static_cast<float>(x >> 16) / 65536.0F - 0.5F;
    if (kind == "norm") values.push_back(1.0F + unit * 0.5F);
    if (kind == "float") values.push_back(unit * 0.5F * times);
    if (kind == "bias") values.push_back(unit * 0.05F - 0.2F);
    if (kind == "scale") values.push_back((unit + 1.0F) * 0.4F / divide);
  }
  return mx::array(values.begin(), shape, mx::float32);
}

/// A folder for this process alone; other processes run the same tests at the same time.
inline fs::path temp_folder(const std::string& name) {
  return fs::path(testing::TempDir()) / ("mlxk_" + name + "_" + std::to_string(getpid()));
}

inline const fs::path kCases = fs::path(test_tree::kTestData) / "models";

/// The case's "config" and "tensors" (name → shape and kind).
inline Json golden_case(const std::string& name) { return read_json(kCases / (name + ".json")); }

/// Writes config.json and model.safetensors of a case to `folder`, which it returns.
inline fs::path write_case(const Json& test_case, const fs::path& folder) {
  fs::create_directories(folder);
  std::unordered_map<std::string, mx::array> tensors;
  for (const auto& [key, description] : test_case["tensors"].items()) tensors.emplace(key, tensor(key, description));
  mx::save_safetensors((folder / "model.safetensors").string(), tensors);
  std::ofstream(folder / "config.json") << test_case["config"].dump();
  return folder;
}
inline fs::path write_model(const std::string& name, const fs::path& folder) {
  return write_case(golden_case(name), folder);
}

}  // namespace mlxk::golden
