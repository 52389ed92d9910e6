#pragma once

#include <string>
#include <string_view>

namespace mlxk {

/// Renders `svg` to a PNG of `scale` times its size. Text is set in Roboto. Throws invalid if `svg` is not an SVG
/// document.
std::string svg_to_png(std::string_view svg, double scale);

}  // namespace mlxk
