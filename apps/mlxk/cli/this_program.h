#pragma once

#include <filesystem>

namespace mlxk {

/// The file that this process runs, with links resolved; empty if the system does not tell.
std::filesystem::path this_program();

}  // namespace mlxk
