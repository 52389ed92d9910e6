// Whole images: every decoded image must have the size that it states.
#include <cstdint>
#include <cstdlib>

#include "base/error.h"
#include "media/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const mlxk::Image image = mlxk::decode_image({data, size}, "fuzz").image;
    if (image.width < 1 || image.height < 1 ||
        image.rgb.size() != size_t{3} * static_cast<size_t>(image.width) * static_cast<size_t>(image.height))
      std::abort();
  } catch (const mlxk::Error&) {
  }
  return 0;
}
