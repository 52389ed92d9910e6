#pragma once

#include <string_view>

namespace mlxk {

/// The compression ratio of the text with zlib: high if it repeats itself.
double compression_ratio(std::string_view text);

}  // namespace mlxk
