#include "kernels/allocate.h"

#include <fmt/format.h>

#include "base/error.h"

namespace mlxk {

mx::allocator::Data allocate(size_t bytes) {
  mx::allocator::Data data = mx::allocator::malloc(bytes);
  if (bytes > 0 && !data.buffer().ptr()) {
    throw Error(ErrorKind::memory, fmt::format("out of memory: {} bytes could not be allocated", bytes));
  }
  return data;
}

}  // namespace mlxk
