#pragma once

#include <string>

namespace mlxk {

/// The spec (for resolve_model) of the model that `word` names on the command line: `word` itself, or "./word" where
/// nothing in the cache or the workspace home matches and it is the path of a folder with config.json. Where both
/// exist, a line on stderr says which one is taken. Throws what resolve_model throws.
std::string model_argument(const std::string& word);

/// The same for a model that is to be opened: of a GGUF file it is the workspace that import_gguf makes.
std::string runnable_argument(const std::string& word);

/// Whether `word` names a file that is called *.gguf or begins as a GGUF file does, and no model folder.
bool is_gguf_argument(const std::string& word);

/// The spec of the model that is meant where none is named: MLXK_DEFAULT_MODEL, else the one that quickstart makes, in
/// the workspace home, in the cache, or in the models folder of the build that this program stands in. Empty: none.
std::string default_model();

}  // namespace mlxk
