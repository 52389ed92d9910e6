#include "nn/quantization.h"

#include <fmt/format.h>

namespace mlxk {
namespace {

Quantization read_entry(const Config& entry, const Quantization& fallback) {
  Quantization q;
  q.mode = entry.text_or("mode", fallback.mode);
  if (q.mode != "affine" && q.mode != "mxfp4" && q.mode != "mxfp8" && q.mode != "nvfp4") {
    throw Error(ErrorKind::unsupported, fmt::format("[{}] mode '{}' is not known", entry.place(), q.mode),
                "known are affine, mxfp4, mxfp8, nvfp4");
  }
  q.bits = static_cast<int>(entry.integer_or("bits", q.mode == "mxfp8" ? 8 : fallback.bits, 1, 8));
  q.group_size = static_cast<int>(entry.integer_or("group_size", fallback.group_size, 1, 1024));
  return q;
}

// The one packing that `bits` a weight and `group` weights a scale can mean.
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

QuantizationConfig::QuantizationConfig(const Config& config) {
  const char* key = config.has("quantization") ? "quantization" : "quantization_config";
  if (!config.has(key)) return;
  Config all = config.object(key);
  Quantization top = read_entry(all, {});
  if (all.has("bits")) said_.bits = top.bits;
  if (all.has("group_size")) said_.group_size = top.group_size;
  if (all.has("mode")) said_.mode = top.mode;
  for (const auto& [name, value] : all.json().items()) {
    if (value.is_boolean()) {
      layers_[name] = value.get<bool>() ? std::optional(top) : std::nullopt;
    } else if (value.is_object()) {
      layers_[name] = read_entry(Config(value, all.place() + " " + name), top);
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
    const Quantization& want = *said->second;
    if (want.bits != bits || want.group_size != group || want.mode != found->mode) {
      throw broken(fmt::format("is {} with {} bits in groups of {}, but the configuration says {}, {} and {}",
                               found->mode, bits, group, want.mode, want.bits, want.group_size));
    }
  }
  if (layers_.count(path) == 0) {
    const bool agrees = said_.bits.value_or(bits) == bits && said_.group_size.value_or(group) == group &&
                        said_.mode.value_or(found->mode) == found->mode;
    agreed_ = agreed_ || agrees;
    if (!agrees && contradiction_.empty()) {
      contradiction_ = fmt::format("{} is {} with bits {} and group_size {}", path, found->mode, bits, group);
    }
  }
  return *found;
}

void QuantizationConfig::check() const {
  if (agreed_ || contradiction_.empty()) return;
  std::string said;
  if (said_.mode) said += fmt::format(" mode {}", *said_.mode);
  if (said_.bits) said += fmt::format(" bits {}", *said_.bits);
  if (said_.group_size) said += fmt::format(" group_size {}", *said_.group_size);
  throw Error(ErrorKind::bad_model,
              fmt::format("[quantization] config.json says{}, but no tensor is packed so: {}", said, contradiction_));
}

}  // namespace mlxk
