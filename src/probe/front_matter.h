#pragma once

#include <string>
#include <string_view>

#include "probe/files.h"

namespace mlxk {

/// Whether the README's front matter (YAML between the first two "---" lines) has the tag mlx or library_name mlx.
bool front_matter_says_mlx(const ModelFiles& files);

/// front_matter_says_mlx for the text of a README.
bool front_matter_says_mlx(std::string_view readme);

/// The first base_model of the README's front matter; empty: it names none.
std::string base_model_of(const ModelFiles& files);

}  // namespace mlxk
