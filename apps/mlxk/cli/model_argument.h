#pragma once

#include <string>

namespace mlxk {

/// The spec (for resolve_model) of the model that `word` names on the command line: `word` itself, or "./word" if
/// nothing in the cache or the workspace home matches and it is the path of a folder with config.json. If both exist, a
/// line on stderr says which one is used. Throws like resolve_model.
std::string model_argument(const std::string& word);

/// The same for a model that will be opened: for a GGUF file, the workspace that import_gguf makes.
std::string runnable_argument(const std::string& word);

/// Whether `word` names a file that is called *.gguf or begins like a GGUF file, and no model folder.
bool is_gguf_argument(const std::string& word);

/// The spec of the default model: MLXK_DEFAULT_MODEL, else the one that quickstart makes, in the workspace home, in the
/// cache, or in the models folder of the build that contains this program. Empty: none.
std::string default_model();

}  // namespace mlxk
