#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// `svg` as a PNG of `scale` times its size; throws invalid for what is no SVG. Text is set in Roboto.
std::string svg_to_png(std::string_view svg, double scale);

}  // namespace mlxk
