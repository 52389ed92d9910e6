#include "bench/drawn_image.h"

#include <cstddef>
#include <cstdint>

namespace mlxk {

namespace {
void put(std::string& out, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
}
}  // namespace

std::string drawn_image(int side) {
  const auto width = static_cast<uint32_t>(side), row = (3 * width + 3) / 4 * 4;
  std::string out = "BM";
  put(out, 54 + row * width, 4);
  put(out, 0, 4);
  put(out, 54, 4);  // offset of the pixels
  put(out, 40, 4);  // bytes of the header from here
  put(out, width, 4);
  put(out, width, 4);
  put(out, 1, 2);
  put(out, 24, 2);  // bits per pixel
  out.append(24, '\0');
  const int cell = side / 4 + 1, radius = cell / 3;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const int dx = x % cell - cell / 2, dy = y % cell - cell / 2;
      const bool inside = dx * dx + dy * dy < radius * radius;
      out += static_cast<char>(inside ? 30 : 255 * x / side);
      out += static_cast<char>(inside ? 60 * (x / cell) : 255 * y / side);
      out += static_cast<char>(inside ? 220 : 128);
    }
    out.append(row - 3 * width, '\0');
  }
  return out;
}

}  // namespace mlxk
