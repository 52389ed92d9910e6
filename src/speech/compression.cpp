#include "speech/compression.h"

#include <zlib.h>

#include <vector>

namespace mlxk {

double compression_ratio(std::string_view text) {
  uLongf size = compressBound(static_cast<uLong>(text.size()));
  std::vector<Bytef> packed(size);
  compress2(packed.data(), &size, reinterpret_cast<const Bytef*>(text.data()), static_cast<uLong>(text.size()),
            Z_DEFAULT_COMPRESSION);
  return static_cast<double>(text.size()) / static_cast<double>(size);
}

}  // namespace mlxk
