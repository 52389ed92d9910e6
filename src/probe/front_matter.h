#pragma once

#include <string_view>

#include "probe/files.h"

namespace mlxk {

/// Whether the README's front matter (YAML between the first two "---" lines) has the tag mlx or library_name mlx.
bool front_matter_says_mlx(const ModelFiles& files);

/// The same for the README's text.
bool front_matter_says_mlx(std::string_view readme);

}  // namespace mlxk
