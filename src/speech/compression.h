#pragma once

#include <string_view>

namespace mlxk {

/// How many times shorter zlib makes the text: high where it repeats itself.
double compression_ratio(std::string_view text);

}  // namespace mlxk
