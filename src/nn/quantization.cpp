#include "nn/quantization.h"

#include <fmt/format.h>

#include "json/json.h"

namespace mlxk {
namespace {

// The only packing with `bits` per weight and `group` weights per scale.
std::optional<Quantization> packing(int bits, int group, bool float_scales) {
  if (float_scales) {
    bool known = (bits >= 1 && bits <= 6) || bits == 8;
    if (known && (group == 32 || group == 64 || group == 128)) return Quantization{bits, group, "affine"};
  } else {
    if (bits == 4 && group == 16) return Quantization{bits, group, "nvfp4"};
    if (bits == 4 && group == 32) return Quantization{bits, group, "mxfp4"};
    if (bits == 8 && group == 32) return Quantization{bits, group, "mxfp8"};
  }
  return std::nullopt;
}

}  // namespace

QuantizationConfig::Said QuantizationConfig::Said::read(const Config& entry) {
  Said said;
  if (entry.has("mode")) {
    said.mode = entry.text_or("mode", "");
    if (said.mode != "affine" && said.mode != "mxfp4" && said.mode != "mxfp8" && said.mode != "nvfp4") {
      throw Error(ErrorKind::unsupported, fmt::format("[{}] mode '{}' is not known", entry.place(), *said.mode),
                  "known are affine, mxfp4, mxfp8, nvfp4");
    }
  }
  if (entry.has("bits")) said.bits = static_cast<int>(entry.integer("bits", 1, 8));
  if (entry.has("group_size")) said.group_size = static_cast<int>(entry.integer("group_size", 1, 1024));
  return said;
}

bool QuantizationConfig::Said::agrees(const Quantization& q) const {
  return bits.value_or(q.bits) == q.bits && group_size.value_or(q.group_size) == q.group_size &&
         mode.value_or(q.mode) == q.mode;
}

std::string QuantizationConfig::Said::text() const {
  std::string text;
  if (mode) text += fmt::format(" mode {}", *mode);
  if (bits) text += fmt::format(" bits {}", *bits);
  if (group_size) text += fmt::format(" group_size {}", *group_size);
  return text;
}

QuantizationConfig::QuantizationConfig(const Config& config) {
  const char* key = config.has("quantization") ? "quantization" : "quantization_config";
  if (!config.has(key)) return;
  const Config all = config.object(key);
  said_ = Said::read(all);
  for (const auto& [name, value] : all.json().items()) {
    if (value.is_boolean()) {
      layers_[name] = value.get<bool>() ? std::optional(said_) : std::nullopt;
    } else if (value.is_object()) {
      layers_[name] = Said::read(Config(value, all.place() + " " + name));
    }
  }
}

Quantization QuantizationConfig::of(const std::string& path, const mx::array& weight, const mx::array& scales,
                                    int in) const {
  auto broken = [&](const std::string& why) { return Error(ErrorKind::bad_model, fmt::format("[{}] {}", path, why)); };
  if (weight.dtype() != mx::uint32) throw broken("has scales, but its weight is not packed as uint32");
  bool float_scales = mx::issubdtype(scales.dtype(), mx::floating);
  if (!float_scales && scales.dtype() != mx::uint8) throw broken("has scales that are neither floats nor bytes");
  if (weight.ndim() < 2 || scales.ndim() != weight.ndim()) throw broken("weight and scales must be matrices");
  int64_t packed = weight.shape(-1), groups = scales.shape(-1);
  if (groups == 0 || in % groups != 0 || (32 * packed) % in != 0) {
    throw broken(fmt::format("{} packed columns and {} scales do not divide {} inputs", packed, groups, in));
  }
  int bits = static_cast<int>(32 * packed / in), group = static_cast<int>(in / groups);
  auto found = packing(bits, group, float_scales);
  if (!found) {
    throw Error(ErrorKind::unsupported,
                fmt::format("[{}] {} bits in groups of {} are not supported", path, bits, group));
  }
  if (auto said = layers_.find(path); said != layers_.end()) {
    if (!said->second) throw broken("is quantised, but the configuration says it is not");
    if (!said->second->agrees(*found)) {
      throw broken(fmt::format("is {} with bits {} and group_size {}, but the configuration says{}", found->mode, bits,
                               group, said->second->text()));
    }
  } else {
    const bool agrees = said_.agrees(*found);
    agreed_ = agreed_ || agrees;
    if (!agrees && contradiction_.empty()) {
      contradiction_ = fmt::format("{} is {} with bits {} and group_size {}", path, found->mode, bits, group);
    }
  }
  return *found;
}

void QuantizationConfig::check() const {
  if (agreed_ || contradiction_.empty()) return;
  throw Error(ErrorKind::bad_model, fmt::format("[quantization] config.json says{}, but no tensor is packed so: {}",
                                                said_.text(), contradiction_));
}

}  // namespace mlxk
