#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <string_view>

namespace mlxk {

namespace fs = std::filesystem;

/// The whole content of a regular file; throws io when it cannot be read, bad_model when it is larger than `limit`
/// bytes.
std::string read_file(const fs::path& path, uint64_t limit = uint64_t{256} << 20);

/// The bytes of `in` to its end. Reading stops once there are more than `limit` bytes; the result then has more, too.
std::string read_stream(std::istream& in, uint64_t limit);

/// The largest depth of nested folders in a model. A walk keeps a descriptor open for each level.
constexpr int kMaxNesting = 64;

/// Throws bad_model if the entry at `it` is more than kMaxNesting levels below the root of the walk; called at every
/// step.
void check_nesting(const fs::recursive_directory_iterator& it);

/// Writes `content` to a temporary file beside `path`, flushes it and renames it into place; throws io.
void write_file_atomic(const fs::path& path, std::string_view content);

}  // namespace mlxk
