#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace mlxk {

/// The content of the JSON file `path` without its members that hold a path of this machine (`source_repo`,
/// `_name_or_path`, `tokenizer_file` and the like); none if it has no such member or is not a JSON object.
std::optional<std::string> without_local_paths(const std::filesystem::path& path);

}  // namespace mlxk
