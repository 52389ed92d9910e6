#pragma once

#include <filesystem>
#include <vector>

namespace mlxk {

/// The workspace that `file` was imported into: made on first use, which a line on stderr reports, and again if the
/// file or this program changed. Throws like a conversion, and cancelled after Ctrl-C.
std::filesystem::path import_gguf(const std::filesystem::path& file);

/// The folder of imported workspaces: $XDG_CACHE_HOME/mlxk/gguf, else ~/.cache/mlxk/gguf.
std::filesystem::path gguf_import_folder();

/// The imported workspaces whose GGUF file is gone.
std::vector<std::filesystem::path> orphaned_imports();

}  // namespace mlxk
