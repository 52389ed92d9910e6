#pragma once

#include <filesystem>

namespace mlxk {

/// The file that this process runs, links resolved; empty where the system does not tell.
std::filesystem::path this_program();

}  // namespace mlxk
