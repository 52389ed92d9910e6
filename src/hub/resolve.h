#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

/// A model on this disk.
struct ModelRef {
  std::string name;            // "org/model", or the absolute path of a workspace
  std::filesystem::path path;  // the folder with config.json: a snapshot or a workspace
  std::string revision;        // 40-hex snapshot hash; empty for a workspace
  bool cached = true;          // false: a workspace or a plain folder
  std::string display_name;    // of a listed workspace: its folder's name, or its path if the pattern is absolute
};

/// The folder of the Hugging Face cache: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else hf_home()/hub.
std::filesystem::path hub_cache_dir();

/// Resolves `spec` (org/name, short name, part of a name, name@revision-or-hash-prefix, path, workspace) to one model;
/// throws not_found, invalid, and ambiguous with the matches in the hint, one per line.
ModelRef resolve_model(std::string_view spec);

/// Lists every cached model and every workspace of MLXK_WORKSPACE_HOME, sorted by name. A cached model without a
/// snapshot has no revision, and the repository's folder as path.
std::vector<ModelRef> list_models();

/// Whether `spec` is a path ("./x", "../x", "/x", ".", ".."), which means workspaces, never the cache.
bool is_path_spec(std::string_view spec);

/// Whether `name` contains `part`, ignoring the case of ASCII letters.
bool holds_name(std::string_view name, std::string_view part);

/// Lists the models that a `list` pattern selects, sorted by name. A path selects that workspace, else the workspaces
/// in that folder, else those beside it whose name starts with its last part; any other pattern selects names that
/// contain it, ignoring case. Throws invalid.
std::vector<ModelRef> list_models(std::string_view pattern);

}  // namespace mlxk
