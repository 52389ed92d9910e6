#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <string>

#include "base/error.h"
#include "convert/gguf_arch.h"
#include "gguf/blocks.h"

namespace mlxk {

namespace {
/// Llama 3's rule has three settings that every released model shares; only the factor differs.
constexpr double kLowFreqFactor = 1, kHighFreqFactor = 4, kOriginalPositions = 8192;

/// The divisor of the frequency of dimension pair `i` by Llama 3's rule.
double llama3_divisor(int64_t i, int64_t head_dim, double theta, double factor) {
  const double wavelength =
      2 * std::numbers::pi * std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  if (wavelength < kOriginalPositions / kHighFreqFactor) return 1;
  if (wavelength > kOriginalPositions / kLowFreqFactor) return factor;
  const double smooth = (kOriginalPositions / wavelength - kLowFreqFactor) / (kHighFreqFactor - kLowFreqFactor);
  return 1 / ((1 - smooth) / factor + smooth);
}

/// rope_freqs.weight holds a divisor for each pair; they are checked against Llama 3's rule, not assumed to follow it.
Json llama3_scaling(const GgufFile& file, const GgufTensor& tensor, int64_t head_dim, double theta) {
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorKind::unsupported, fmt::format("[gguf] {}: tensor rope_freqs.weight {}", file.place(), what));
  };
  if (tensor.type != GgmlType::f32 || tensor.shape != std::vector<uint64_t>{static_cast<uint64_t>(head_dim / 2)}) {
    refuse(fmt::format("must be {} elements of F32", head_dim / 2));
  }
  std::vector<float> divisors(tensor.columns());
  dequantize(tensor.type, tensor.data, divisors);
  const double factor = divisors.back();
  if (!(factor >= 1)) refuse(fmt::format("ends with {}, must be at least 1", factor));
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double expected = llama3_divisor(static_cast<int64_t>(i), head_dim, theta, factor);
    if (!(std::abs(divisors[i] - expected) <= 1e-3 * expected)) {
      refuse(fmt::format("is not Llama 3's rule with factors 1 and 4 over 8192 positions: [{}] is {}, not {}", i,
                         divisors[i], expected));
    }
  }
  if (factor == 1) return nullptr;
  return {{"rope_type", "llama3"},
          {"factor", factor},
          {"low_freq_factor", kLowFreqFactor},
          {"high_freq_factor", kHighFreqFactor},
          {"original_max_position_embeddings", static_cast<int64_t>(kOriginalPositions)}};
}
}  // namespace

Json read_gguf_rope_scaling(const GgufFile& file, std::string_view architecture, int64_t head_dim) {
  const auto key = [&](const char* name) { return fmt::format("{}.rope.{}", architecture, name); };
  const auto refuse = [&](const std::string& name, const std::string& what) {
    throw Error(ErrorKind::unsupported, fmt::format("[gguf] {}: key {} {}", file.place(), name, what));
  };
  const auto type = file.string(key("scaling.type")).value_or("none");
  const double old_linear = file.number(key("scale_linear")).value_or(1);
  const double factor = file.number(key("scaling.factor")).value_or(old_linear);
  for (const char* name : {"scaling.attn_factor", "scaling.yarn_log_multiplier"}) {
    const auto value = file.number(key(name));
    if (value && *value != 1 && *value != 0) refuse(key(name), fmt::format("is {}: not built in", *value));
  }
  if (const auto* tensor = file.find_tensor("rope_freqs.weight")) {
    if (type != "none" || factor != 1) refuse(key("scaling.type"), "is set beside rope_freqs.weight: not built in");
    return llama3_scaling(file, *tensor, head_dim, file.number(key("freq_base")).value_or(1e4));
  }
  if (!(factor >= 1) || !std::isfinite(factor)) {
    // Some writers put 0 if nothing is scaled.
    if (factor == 0 && type == "none") return nullptr;
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: key {} must be at least 1, got {}", file.place(),
                                                  key("scaling.factor"), factor));
  }
  if (type == "linear" || (type == "none" && old_linear != 1)) {
    if (factor == 1) return nullptr;
    return {{"rope_type", "linear"}, {"type", "linear"}, {"factor", factor}};
  }
  if (type == "none") return nullptr;
  if (type != "yarn")
    refuse(key("scaling.type"), fmt::format("is \"{}\"; none, linear and yarn are built in", type.substr(0, 80)));
  const auto original = file.integer(key("scaling.original_context_length"));
  if (!original || *original < 1) {
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: key {} is missing or less than 1", file.place(),
                                                  key("scaling.original_context_length")));
  }
  return {{"rope_type", "yarn"}, {"type", "yarn"}, {"factor", factor}, {"original_max_position_embeddings", *original}};
}

}  // namespace mlxk
