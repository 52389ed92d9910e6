#include "cpu/scratch.h"

#include <cstdlib>
#include <new>

namespace mlxk {

Scratch::~Scratch() { std::free(data_); }

void* Scratch::bytes(size_t bytes) {
  if (bytes > size_) {
    std::free(data_);
    size_ = (bytes + 4095) / 4096 * 4096;
    data_ = std::aligned_alloc(64, size_);
    if (!data_) {
      size_ = 0;
      throw std::bad_alloc();
    }
  }
  return data_;
}

}  // namespace mlxk
