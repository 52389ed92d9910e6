#include "tensor_archive/archive_tensor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>

#include "base/error.h"

namespace mlxk {

namespace {
using Wide = __int128;  // no product of two checked sizes overflows it

bool lies_in_order(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  int64_t expected = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

std::vector<std::byte> gather(const std::vector<int64_t>& shape, const StridedData& source, size_t element,
                              size_t elements) {
  std::vector<std::byte> out(elements * element);
  std::vector<int64_t> at(shape.size(), 0);
  int64_t from = source.offset;
  for (size_t i = 0; i < elements; ++i) {
    std::memcpy(out.data() + i * element, source.storage.data() + static_cast<size_t>(from) * element, element);
    for (size_t axis = shape.size(); axis-- > 0;) {
      from += source.strides[axis];
      if (++at[axis] < shape[axis]) break;
      from -= at[axis] * source.strides[axis];
      at[axis] = 0;
    }
  }
  return out;
}
}  // namespace

ArchiveTensor in_row_order(TensorEntry entry, const StridedData& source, TensorBuffers& buffers,
                           const std::string& place) {
  const auto fail = [&](const std::string& why) {
    return Error(ErrorKind::bad_model,
                 fmt::format("{}: tensor {} [{}] {}", place, entry.name, fmt::join(entry.shape, ", "), why));
  };
  const auto element = static_cast<size_t>(dtype_bytes(entry.dtype));
  const Wide held = source.storage.size() / element;
  Wide elements = 1, last = source.offset;
  if (source.offset < 0 || source.strides.size() != entry.shape.size()) throw fail("has no valid strides");
  for (size_t i = 0; i < entry.shape.size(); ++i) {
    const auto size = entry.shape[i], stride = source.strides[i];
    if (size < 0 || size > INT32_MAX || stride < 0) throw fail("has a negative or too large dimension");
    elements *= size;
    if (size > 0) last += Wide{size - 1} * stride;
    if (elements > held || last > (Wide{1} << 62)) throw fail("has more elements than its storage");
  }
  if (elements == 0) return {std::move(entry), {}};
  if (last >= held) throw fail("reaches past its storage");
  const auto count = static_cast<size_t>(elements);
  if (lies_in_order(entry.shape, source.strides)) {
    const auto data = source.storage.subspan(static_cast<size_t>(source.offset) * element, count * element);
    return {std::move(entry), data};
  }
  buffers.push_back(gather(entry.shape, source, element, count));
  return {std::move(entry), buffers.back()};
}

}  // namespace mlxk
