#include "models/published_packing.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string_view>

#include "base/error.h"
#include "mlx/ops.h"

namespace mlxk {
namespace {

constexpr std::string_view kScale = "_scale_inv", kActivationScale = ".activation_scale";
constexpr int kBlock = 128;

/// Whether there is one scale for the whole tensor, or for each matrix of a stack: all axes but the first have length
/// 1.
bool serves_matrices(const mx::array& scale, const mx::array& weight) {
  if (scale.size() == 1) return true;
  return weight.ndim() == 3 && scale.size() == static_cast<size_t>(weight.shape(0)) && scale.ndim() == 3 &&
         scale.shape(0) == weight.shape(0);
}

/// [rows, columns] or a stack of such, with a scale for each block.
mx::array times_blocks(const mx::array& weight, const mx::array& scale) {
  const int rows = scale.shape(-2) * kBlock, columns = scale.shape(-1) * kBlock;
  std::vector<std::pair<int, int>> missing(weight.ndim(), {0, 0});
  missing[weight.ndim() - 2].second = rows - weight.shape(-2);
  missing.back().second = columns - weight.shape(-1);
  mx::Shape whole = weight.shape(), blocks = weight.shape();
  whole[weight.ndim() - 2] = rows;
  whole.back() = columns;
  blocks.resize(weight.ndim() - 2);
  for (const int axis : {-2, -1}) blocks.insert(blocks.end(), {scale.shape(axis), kBlock});
  const mx::array by_block = mx::reshape(mx::pad(weight, missing), blocks);
  const mx::array product = mx::multiply(by_block, mx::expand_dims(scale, {-1, -3}));
  return mx::slice(mx::reshape(product, whole), mx::Shape(weight.ndim(), 0), weight.shape());
}

mx::array unpacked(const std::string& name, const mx::array& packed, const mx::array& scale) {
  const mx::array weight = mx::from_fp8(packed, mx::bfloat16);
  if (serves_matrices(scale, weight)) {
    return mx::astype(mx::multiply(weight, scale.size() == 1 ? mx::reshape(scale, {}) : scale), mx::bfloat16);
  }
  mx::Shape blocks = weight.shape();
  for (size_t axis = blocks.size() < 2 ? 0 : blocks.size() - 2; axis < blocks.size(); ++axis) {
    blocks[axis] = (blocks[axis] + kBlock - 1) / kBlock;
  }
  if (weight.ndim() < 2 || scale.shape() != blocks) {
    throw Error(
        ErrorKind::bad_model,
        fmt::format("[weights] {}{} must be one number or of shape [{}], a number for each block of {} × {}, got "
                    "shape [{}]",
                    name, kScale, fmt::join(blocks, ", "), kBlock, kBlock, fmt::join(scale.shape(), ", ")));
  }
  return mx::astype(times_blocks(weight, scale), mx::bfloat16);
}

}  // namespace

void unpack_float8(Weights::Tensors& tensors) {
  std::vector<std::string> scales, unused;
  for (const auto& [name, tensor] : tensors) {
    if (name.ends_with(kScale)) scales.push_back(name);
    if (name.ends_with(kActivationScale)) unused.push_back(name);
  }
  for (const auto& scale : scales) {
    const std::string name = scale.substr(0, scale.size() - kScale.size());
    const auto weight = tensors.find(name);
    if (weight == tensors.end() || weight->second.dtype() != mx::uint8) continue;  // reported as unknown
    weight->second = unpacked(name, weight->second, tensors.at(scale));
    unused.push_back(scale);
  }
  if (scales.empty()) return;
  for (const auto& name : unused) tensors.erase(name);
}

}  // namespace mlxk
