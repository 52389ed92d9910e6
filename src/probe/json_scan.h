#pragma once

#include <filesystem>

namespace mlxk {

/// Whether the file is one JSON object by its brackets and strings, with nothing after it: detects files that are cut
/// off, joined or not JSON in a few milliseconds a megabyte, without building a tree. False for an unreadable file.
bool is_whole_json_object(const std::filesystem::path& path);

}  // namespace mlxk
