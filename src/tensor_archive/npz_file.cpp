#include "tensor_archive/npz_file.h"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/error.h"

namespace mlxk {

namespace {
struct Descr {
  std::string_view word;
  TensorDtype dtype;
};
// NumPy has no bfloat16: libraries write its two bytes as raw data.
constexpr Descr kDescrs[] = {{"<f4", TensorDtype::f32},     {"<f2", TensorDtype::f16},  {"<f8", TensorDtype::f64},
                             {"<V2", TensorDtype::bf16},    {"|V2", TensorDtype::bf16}, {"V2", TensorDtype::bf16},
                             {"|b1", TensorDtype::boolean}, {"|u1", TensorDtype::u8},   {"|i1", TensorDtype::i8},
                             {"<u2", TensorDtype::u16},     {"<i2", TensorDtype::i16},  {"<u4", TensorDtype::u32},
                             {"<i4", TensorDtype::i32},     {"<u8", TensorDtype::u64},  {"<i8", TensorDtype::i64}};

class NpyHeader {
 public:
  NpyHeader(std::string_view text, std::string place) : text_(text), place_(std::move(place)) {}

  TensorDtype dtype() const {
    auto rest = after("'descr':");
    const char quote = rest.empty() ? ' ' : rest.front();
    const auto end = rest.find(quote, 1);
    if ((quote != '\'' && quote != '"') || end == rest.npos) throw broken("descr is no text");
    const auto word = rest.substr(1, end - 1);
    for (const auto& row : kDescrs) {
      if (row.word == word) return row.dtype;
    }
    throw Error(ErrorKind::unsupported, fmt::format("{}: elements of type {} cannot be read", place_, word));
  }

  bool columns_first() const {
    const auto rest = after("'fortran_order':");
    if (rest.substr(0, 4) == "True") return true;
    if (rest.substr(0, 5) == "False") return false;
    throw broken("fortran_order is neither True nor False");
  }

  std::vector<int64_t> shape() const {
    auto rest = after("'shape':");
    if (rest.empty() || rest.front() != '(') throw broken("shape is not a tuple");
    rest.remove_prefix(1);
    std::vector<int64_t> shape;
    while (true) {
      rest.remove_prefix(std::min(rest.find_first_not_of(" ,"), rest.size()));
      if (rest.empty()) throw broken("shape has no end");
      if (rest.front() == ')') return shape;
      int64_t size = -1;
      const auto [end, failed] = std::from_chars(rest.data(), rest.data() + rest.size(), size);
      if (failed != std::errc() || size < 0 || size > INT32_MAX || shape.size() == 32) {
        throw broken("shape holds something else than sizes");
      }
      rest.remove_prefix(static_cast<size_t>(end - rest.data()));
      shape.push_back(size);
    }
  }

  Error broken(const std::string& why) const {
    return {ErrorKind::bad_model, fmt::format("{}: not a valid .npy: {}", place_, why)};
  }

 private:
  std::string_view after(std::string_view key) const {
    const auto at = text_.find(key);
    if (at == text_.npos) throw broken(fmt::format("there is no {}", key));
    auto rest = text_.substr(at + key.size());
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    return rest;
  }

  std::string_view text_;
  std::string place_;
};

ArchiveTensor read_npy(std::string name, std::span<const std::byte> file, TensorBuffers& buffers,
                       const std::string& archive) {
  const auto place = fmt::format("{}: {}", archive, name);
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  const NpyHeader start({}, place);
  if (text.size() < 12 || text.substr(0, 6) != "\x93NUMPY") throw start.broken("it does not begin as one");
  const bool wide = text[6] >= 2;
  uint32_t length = 0;
  std::memcpy(&length, text.data() + 8, wide ? 4 : 2);
  const size_t from = wide ? 12 : 10;
  if (length > text.size() - from || length > (1 << 20)) throw start.broken("the header is cut off");
  const NpyHeader header(text.substr(from, length), place);
  TensorEntry entry;
  entry.name = std::move(name);
  entry.dtype = header.dtype();
  entry.shape = header.shape();
  StridedData source{file.subspan(from + length), 0, std::vector<int64_t>(entry.shape.size())};
  const bool columns_first = header.columns_first();
  int64_t stride = 1;
  for (size_t i = 0; i < entry.shape.size(); ++i) {
    const size_t axis = columns_first ? i : entry.shape.size() - 1 - i;
    source.strides[axis] = stride;
    if (entry.shape[axis] > 0 && stride > INT64_MAX / INT32_MAX / 2) throw header.broken("shape is too large");
    stride *= std::max<int64_t>(1, entry.shape[axis]);
  }
  return in_row_order(std::move(entry), source, buffers, archive);
}
}  // namespace

std::vector<ArchiveTensor> read_npz(const ZipFile& archive, TensorBuffers& buffers) {
  constexpr std::string_view kEnding = ".npy";
  std::vector<ArchiveTensor> tensors;
  for (const auto& [name, entry] : archive.entries()) {
    if (name.size() <= kEnding.size() || name.substr(name.size() - kEnding.size()) != kEnding) {
      throw Error(ErrorKind::bad_model, fmt::format("{}: entry {} is not an .npy file", archive.place(), name));
    }
    tensors.push_back(
        read_npy(name.substr(0, name.size() - kEnding.size()), archive.bytes(name), buffers, archive.place()));
  }
  return tensors;
}

}  // namespace mlxk
