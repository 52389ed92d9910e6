// The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "gguf/gguf.h"

namespace mlxk {

static_assert(std::endian::native == std::endian::little, "GGUF is read as little-endian");

namespace {
constexpr uint64_t kMaxKeys = 1U << 16;
constexpr uint64_t kMaxTensors = 100'000;
constexpr uint64_t kMaxKeyLength = 65535;
constexpr uint64_t kMaxTensorName = 1024;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxAlignment = 1U << 20;
constexpr int kMaxArrayDepth = 4;

/// Bytes of an element of fixed size; 0 for strings, arrays and unknown types.
uint64_t fixed_size(uint32_t kind) {
  switch (static_cast<GgufKind>(kind)) {
    case GgufKind::u8:
    case GgufKind::i8:
    case GgufKind::boolean: return 1;
    case GgufKind::u16:
    case GgufKind::i16: return 2;
    case GgufKind::u32:
    case GgufKind::i32:
    case GgufKind::f32: return 4;
    case GgufKind::u64:
    case GgufKind::i64:
    case GgufKind::f64: return 8;
    case GgufKind::string:
    case GgufKind::array: break;
  }
  return 0;
}

/// A name for display: hostile bytes escaped, long names cut.
std::string shown(std::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 80)) {
    if (c >= 0x20 && c < 0x7f) {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  return name.size() > 80 ? text + "…" : text;
}
}  // namespace

/// Walks the bytes once, front to back; every read is checked against the remaining length.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, GgufFile& file) : bytes_(bytes), file_(file) {}

  void parse() {
    const auto tensor_count = header();
    for (uint64_t i = 0; i < key_count_; ++i) key_value(i);
    const auto alignment = read_alignment();
    struct Region {
      uint64_t offset, size;
    };
    std::vector<Region> regions;
    for (uint64_t i = 0; i < tensor_count; ++i) {
      const auto offset = tensor_info(i, alignment);
      regions.push_back({offset, sizes_.back()});
    }
    const uint64_t data_start = (at_ + alignment - 1) / alignment * alignment;
    // A file without tensors need not be padded.
    const uint64_t data_size = data_start <= bytes_.size() ? bytes_.size() - data_start : 0;
    for (size_t i = 0; i < regions.size(); ++i) {
      auto& tensor = file_.tensors_[i];
      const auto [offset, size] = regions[i];
      if (offset > data_size || size > data_size - offset) {
        fail(fmt::format("tensor {}: {} bytes at offset {} end past the file's {} bytes of data", shown(tensor.name),
                         size, offset, data_size));
      }
      tensor.data = bytes_.subspan(data_start + offset, size);
    }
    check_overlaps();
  }

 private:
  uint64_t header() {
    place_ = "header";
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0) {
      throw Error(ErrorKind::bad_model,
                  fmt::format("{} is not a GGUF file: it does not start with \"GGUF\"", file_.place_));
    }
    at_ = 4;
    file_.version_ = read<uint32_t>();
    if (file_.version_ == 0x02000000 || file_.version_ == 0x03000000) {
      throw Error(ErrorKind::unsupported, fmt::format("[gguf] {}: big-endian files are not read", file_.place_));
    }
    if (file_.version_ != 2 && file_.version_ != 3) {
      throw Error(ErrorKind::unsupported,
                  fmt::format("[gguf] {}: version {} is not read, only 2 and 3", file_.place_, file_.version_));
    }
    const auto tensor_count = read<uint64_t>();
    key_count_ = read<uint64_t>();
    if (tensor_count > kMaxTensors) fail(fmt::format("{} tensors, at most {} are read", tensor_count, kMaxTensors));
    if (key_count_ > kMaxKeys) fail(fmt::format("{} keys, at most {} are read", key_count_, kMaxKeys));
    return tensor_count;
  }

  void key_value(uint64_t index) {
    place_ = fmt::format("key {}", index);
    const auto key = string(kMaxKeyLength);
    if (key.empty()) fail("an empty name");
    place_ = fmt::format("key {}", shown(key));
    const auto kind = read<uint32_t>();
    GgufValue value{static_cast<GgufKind>(kind), {}};
    switch (value.kind) {
      case GgufKind::u8: value.value = uint64_t{read<uint8_t>()}; break;
      case GgufKind::u16: value.value = uint64_t{read<uint16_t>()}; break;
      case GgufKind::u32: value.value = uint64_t{read<uint32_t>()}; break;
      case GgufKind::u64: value.value = read<uint64_t>(); break;
      case GgufKind::i8: value.value = int64_t{read<int8_t>()}; break;
      case GgufKind::i16: value.value = int64_t{read<int16_t>()}; break;
      case GgufKind::i32: value.value = int64_t{read<int32_t>()}; break;
      case GgufKind::i64: value.value = read<int64_t>(); break;
      case GgufKind::f32: value.value = double{read<float>()}; break;
      case GgufKind::f64: value.value = read<double>(); break;
      case GgufKind::boolean: {
        const auto flag = read<uint8_t>();
        if (flag > 1) fail(fmt::format("a truth value must be 0 or 1, got {}", flag));
        value.value = flag == 1;
        break;
      }
      case GgufKind::string: value.value = string(UINT64_MAX); break;
      case GgufKind::array: value.value = array(0); break;
      default: fail(fmt::format("value type {} is not known", kind));
    }
    if (!file_.metadata_.emplace(key, std::move(value)).second) fail("appears twice");
  }

  GgufArray array(int depth) {
    if (depth >= kMaxArrayDepth) fail(fmt::format("arrays nested deeper than {}", kMaxArrayDepth));
    const auto kind = read<uint32_t>();
    GgufArray result{static_cast<GgufKind>(kind), read<uint64_t>(), {}, {}};
    if (const auto size = fixed_size(kind)) {
      if (result.count > left() / size) fail(fmt::format("an array of {} elements in {} bytes", result.count, left()));
      result.raw = bytes_.subspan(at_, result.count * size);
      at_ += result.raw.size();
      return result;
    }
    // A string takes at least its length, an array its type and count.
    const uint64_t least = result.element == GgufKind::string ? 8 : 12;
    if (result.element != GgufKind::string && result.element != GgufKind::array) {
      fail(fmt::format("array element type {} is not known", kind));
    }
    if (result.count > left() / least) fail(fmt::format("an array of {} elements in {} bytes", result.count, left()));
    if (result.element == GgufKind::string) {
      result.strings.reserve(result.count);
      for (uint64_t i = 0; i < result.count; ++i) result.strings.push_back(string(UINT64_MAX));
    } else {
      for (uint64_t i = 0; i < result.count; ++i) array(depth + 1);
    }
    return result;
  }

  uint64_t read_alignment() {
    place_ = "general.alignment";
    const auto alignment = file_.integer("general.alignment").value_or(32);
    if (alignment < 8 || static_cast<uint64_t>(alignment) > kMaxAlignment ||
        !std::has_single_bit(static_cast<uint64_t>(alignment))) {
      fail(fmt::format("must be a power of two from 8 to {}, got {}", kMaxAlignment, alignment));
    }
    return static_cast<uint64_t>(alignment);
  }

  uint64_t tensor_info(uint64_t index, uint64_t alignment) {
    place_ = fmt::format("tensor {}", index);
    GgufTensor tensor{};
    tensor.name = string(kMaxTensorName);
    if (tensor.name.empty()) fail("an empty name");
    place_ = fmt::format("tensor {}", shown(tensor.name));
    const auto dimensions = read<uint32_t>();
    if (dimensions == 0 || dimensions > kMaxDimensions) {
      fail(fmt::format("{} dimensions, must be 1 to {}", dimensions, kMaxDimensions));
    }
    uint64_t elements = 1;
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = read<uint64_t>();
      // libmlx counts rows and columns in int32.
      if (size == 0 || size > INT32_MAX) fail(fmt::format("dimension {} must be 1 to {}, got {}", i, INT32_MAX, size));
      if (elements > (uint64_t{1} << 62) / size) fail("more than 2^62 elements");
      elements *= size;
      tensor.shape.insert(tensor.shape.begin(), size);
    }
    const auto number = read<uint32_t>();
    const auto* info = find_ggml_type(number);
    if (!info) fail(fmt::format("element type {} is not known", number));
    tensor.type = static_cast<GgmlType>(number);
    if (tensor.columns() % info->block_elements != 0) {
      fail(fmt::format("{} elements in a row are not whole {} blocks of {}", tensor.columns(), info->name,
                       info->block_elements));
    }
    const uint64_t blocks = elements / info->block_elements;
    if (blocks > (uint64_t{1} << 62) / info->block_bytes) fail("more than 2^62 bytes");
    sizes_.push_back(blocks * info->block_bytes);
    const auto offset = read<uint64_t>();
    if (offset % alignment != 0) fail(fmt::format("offset {} is not a multiple of {}", offset, alignment));
    if (!file_.by_name_.emplace(tensor.name, file_.tensors_.size()).second) fail("appears twice");
    file_.tensors_.push_back(std::move(tensor));
    return offset;
  }

  void check_overlaps() {
    std::vector<const GgufTensor*> order;
    order.reserve(file_.tensors_.size());
    for (const auto& tensor : file_.tensors_) order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->data.data() < b->data.data(); });
    for (size_t i = 1; i < order.size(); ++i) {
      const auto* before = order[i - 1];
      if (before->data.data() + before->data.size() > order[i]->data.data()) {
        fail(fmt::format("tensors {} and {} overlap", shown(before->name), shown(order[i]->name)));
      }
    }
  }

  uint64_t left() const { return bytes_.size() - at_; }

  template <class T>
  T read() {
    if (left() < sizeof(T))
      fail(fmt::format("the file ends at byte {}, inside a value of {} bytes", bytes_.size(), sizeof(T)));
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::string_view string(uint64_t limit) {
    const auto size = read<uint64_t>();
    if (size > left()) fail(fmt::format("a string of {} bytes where {} are left", size, left()));
    if (size > limit) fail(fmt::format("a name of {} bytes, at most {} are read", size, limit));
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, size);
    at_ += size;
    return text;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::bad_model, fmt::format("[gguf] {}: {}: {}", file_.place_, place_, what));
  }

  std::span<const std::byte> bytes_;
  GgufFile& file_;
  uint64_t at_ = 0;
  uint64_t key_count_ = 0;
  std::vector<uint64_t> sizes_;
  std::string place_;
};

GgufFile GgufFile::open(const std::filesystem::path& path) {
  MappedFile mapped(path);
  const auto bytes = mapped.bytes();
  auto file = parse(bytes, path.string());
  file.file_.emplace(std::move(mapped));
  return file;
}

GgufFile GgufFile::parse(std::span<const std::byte> bytes, std::string place) {
  GgufFile file;
  file.place_ = std::move(place);
  GgufParser(bytes, file).parse();
  return file;
}

}  // namespace mlxk
