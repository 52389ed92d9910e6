#pragma once

#include <filesystem>

namespace mlxk {

/// Whether the file is one JSON object by its brackets and strings, with nothing after it: finds what is cut off,
/// joined or no JSON at all in a few milliseconds a megabyte, and builds nothing. False for a file that cannot be read.
bool is_whole_json_object(const std::filesystem::path& path);

}  // namespace mlxk
