#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "probe/files.h"

namespace mlxk {

/// The values of `key` in the front matter of a README (YAML between the first two "---" lines): a text, or a list.
std::vector<std::string> front_matter_values(std::string_view readme, std::string_view key);
std::vector<std::string> front_matter_values(const ModelFiles& files, std::string_view key);

/// Whether the README's front matter has the tag mlx or library_name mlx.
bool front_matter_says_mlx(const ModelFiles& files);

/// front_matter_says_mlx for the text of a README.
bool front_matter_says_mlx(std::string_view readme);

/// The first base_model of the README's front matter; empty: it names none.
std::string base_model_of(const ModelFiles& files);

}  // namespace mlxk
