#include "media/svg.h"

#include "rust_handle.h"

namespace mlxk {

std::string svg_to_png(std::string_view svg, double scale) {
  RustText png, error;
  check_rust(mlxk_svg_to_png(svg.data(), svg.size(), static_cast<float>(scale), png.out(), error.out()), error,
             ErrorKind::invalid, "SVG");
  return png.str();
}

}  // namespace mlxk
