#pragma once

#include <filesystem>
#include <optional>

namespace mlxk {

/// The user's home folder: HOME, else that of the password database, else "/".
std::filesystem::path home_folder();

/// The path in environment variable `name`, a leading "~" expanded; none when unset or empty.
std::optional<std::filesystem::path> environment_path(const char* name);

}  // namespace mlxk
