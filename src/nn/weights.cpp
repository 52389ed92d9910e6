#include "nn/weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kernels/allocate.h"
#include "mlx/device.h"
#include "mlx/ops.h"
#include "mlx/transforms.h"

namespace mlxk {
namespace {

bool is_float(mx::Dtype type) { return mx::issubdtype(type, mx::floating); }

mx::Dtype choose_activation_type(const Weights::Tensors& tensors) {
  if (mx::default_device() == mx::Device::cpu) return mx::float32;
  for (const auto& [name, tensor] : tensors) {
    if (is_float(tensor.dtype())) return tensor.dtype();
  }
  return mx::bfloat16;
}

/// `tensor`, copied if its elements are at odd addresses, as in many files.
mx::array aligned(const mx::array& tensor) {
  if (!tensor.is_available()) return tensor;  // computed by libmlx into its own memory
  const auto* data = tensor.data<std::byte>();
  if (reinterpret_cast<uintptr_t>(data) % tensor.itemsize() == 0 || !tensor.flags().row_contiguous) return tensor;
  mx::allocator::Data copy = allocate(tensor.nbytes());
  std::memcpy(copy.buffer().raw_ptr(), data, tensor.nbytes());
  return mx::array(std::move(copy), tensor.shape(), tensor.dtype());
}

std::string list(const char* what, const std::vector<std::string>& names) {
  constexpr size_t kShown = 8;
  std::vector<std::string> shown(names.begin(), names.begin() + std::min(names.size(), kShown));
  std::string more = names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "";
  return fmt::format("{} {}: {}{}", names.size(), what, fmt::join(shown, ", "), more);
}

}  // namespace

Weights::Weights(Tensors tensors, QuantizationConfig quantization)
    : tensors_(std::move(tensors)),
      quantization_(std::move(quantization)),
      activation_type_(choose_activation_type(tensors_)) {}

void Weights::replace(Tensors tensors, QuantizationConfig quantization) {
  tensors_ = std::move(tensors);
  quantization_ = std::move(quantization);
}

void Weights::drop(const std::function<bool(const std::string&)>& unwanted) {
  std::erase_if(tensors_, [&](const auto& entry) { return unwanted(entry.first); });
}

mx::array Weights::keep(const mx::array& tensor) {
  bool cast = is_float(tensor.dtype()) && mx::default_device() == mx::Device::cpu;
  mx::array readable = aligned(tensor);
  parts_.emplace(tensor.id(), !is_float(tensor.dtype()));
  kept_.push_back(cast ? mx::astype(readable, activation_type_) : readable);
  return kept_.back();
}

mx::array Weights::keep_as_stored(const mx::array& tensor) {
  parts_.emplace(tensor.id(), true);
  kept_.push_back(tensor);
  return tensor;
}

mx::array Weights::take_to_compute(const std::string& name) {
  mx::array tensor = take_raw(name);
  parts_.emplace(tensor.id(), true);
  own_names_.emplace(tensor.id(), name);
  return tensor;
}

void Weights::compute(const std::string& name, mx::array tensor) {
  computed_.insert(tensor.id());
  tensors_.insert_or_assign(name, std::move(tensor));
}

void Weights::take_unused(const std::function<bool(const std::string&)>& unused) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    if (unused(name)) names.push_back(name);
  }
  for (const auto& name : names) take_to_compute(name);
}

void Weights::record_as_part_of(const Weights& whole, const std::string& prefix) {
  records_ = whole.records_;
  prefix_ = whole.prefix_ + prefix;
}

std::vector<Weights::Taken> Weights::taken() const {
  std::map<uintptr_t, size_t> last;  // a renamed tensor was taken under each of its names
  for (size_t i = 0; i < raw_.size(); ++i) last[raw_[i].second.id()] = i;
  std::vector<Taken> taken;
  std::set<uintptr_t> used;
  std::vector<mx::array> rest;
  for (size_t i = 0; i < raw_.size(); ++i) {
    const auto& [name, tensor] = raw_[i];
    const auto part = parts_.find(tensor.id());
    if (part == parts_.end() || last[tensor.id()] != i) continue;
    rest.push_back(tensor);
    const auto own = own_names_.find(tensor.id());
    if (own == own_names_.end() && computed_.count(tensor.id())) continue;
    taken.push_back({prefix_ + (own == own_names_.end() ? name : own->second), tensor, part->second});
  }
  while (!rest.empty()) {
    const mx::array tensor = rest.back();
    rest.pop_back();
    if (used.insert(tensor.id()).second) rest.insert(rest.end(), tensor.inputs().begin(), tensor.inputs().end());
  }
  for (const auto& [name, tensor] : raw_) {
    if (used.count(tensor.id())) continue;
    throw Error(ErrorKind::unsupported, fmt::format("[weights] {} cannot be converted for this type of model", name));
  }
  return taken;
}

mx::array Weights::take_raw(const std::string& name) {
  auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    missing_.push_back(name);
    return mx::zeros({1}, activation_type_);
  }
  mx::array tensor = std::move(it->second);
  tensors_.erase(it);
  if (records_) raw_.emplace_back(name, tensor);
  return tensor;
}

mx::array Weights::take_shaped(const std::string& name, const mx::Shape& shape) {
  if (!has(name)) {
    missing_.push_back(name);
    return mx::zeros(shape, activation_type_);
  }
  mx::array tensor = take_raw(name);
  if (tensor.shape() != shape || !is_float(tensor.dtype())) {
    note(fmt::format("{} must be a float tensor of shape [{}], got {} [{}]", name, fmt::join(shape, ", "),
                     is_float(tensor.dtype()) ? "shape" : "integers of shape", fmt::join(tensor.shape(), ", ")));
    return mx::zeros(shape, activation_type_);
  }
  return tensor;
}

void Weights::check() const {
  std::vector<std::string> problems, unknown;
  for (const auto& [name, tensor] : tensors_) unknown.push_back(name);
  if (!missing_.empty()) problems.push_back(list("missing", missing_));
  if (!unknown.empty()) problems.push_back(list("unknown", unknown));
  if (!defects_.empty()) problems.push_back(list("unfit", defects_));
  if (!problems.empty()) {
    throw Error(ErrorKind::bad_model,
                fmt::format("[weights] tensors do not fit the model: {}", fmt::join(problems, "; ")));
  }
}

uint64_t Weights::evaluate(const std::function<void(int64_t, int64_t)>& progress) const {
  constexpr int64_t kBatch = int64_t{64} << 20;  // bytes evaluated between two reports
  int64_t total = 0, done = 0;
  for (const auto& tensor : kept_) total += static_cast<int64_t>(tensor.nbytes());
  std::vector<mx::array> batch;
  int64_t waiting = 0;
  for (const auto& tensor : kept_) {
    batch.push_back(tensor);
    waiting += static_cast<int64_t>(tensor.nbytes());
    if (waiting < kBatch && done + waiting < total) continue;
    mx::eval(batch);
    done += std::exchange(waiting, 0);
    batch.clear();
    if (progress) progress(done, total);
  }
  return static_cast<uint64_t>(total);
}

}  // namespace mlxk
