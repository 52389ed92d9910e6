#pragma once

#include <filesystem>

namespace mlxk {

/// The file that this process runs, with links resolved; empty if the system does not report it.
std::filesystem::path this_program();

}  // namespace mlxk
