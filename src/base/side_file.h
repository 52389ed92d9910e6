#pragma once

#include <string_view>

namespace mlxk {

/// Whether a file or folder of that name (without its path) belongs to an operating system, an editor or an unfinished
/// copy: "._x" (AppleDouble, RFC 1740), ".DS_Store", "Thumbs.db", "desktop.ini", "x~", "x.tmp". Such a file is never
/// weights, configuration or any other part of a model, whatever the rest of its name says.
bool is_side_file(std::string_view name);

}  // namespace mlxk
