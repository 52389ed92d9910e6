#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace mlxk {

/// The user's home folder: HOME, else that of the password database, else "/".
std::filesystem::path home_folder();

/// `text` with a leading "~" or "~user", then every "$NAME" and "${NAME}" expanded, like huggingface_hub (Python's
/// expanduser and expandvars): an unknown user or variable is unchanged.
std::string expand_path(std::string text);

/// The path in environment variable `name`, expanded; none if unset or empty.
std::optional<std::filesystem::path> environment_path(const char* name);

/// Whether environment variable `name` is 1, ON, YES or TRUE, in any case, as huggingface_hub reads it.
bool environment_flag(const char* name);

/// The folder of the Hugging Face tools: HF_HOME, else XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface.
std::filesystem::path hf_home();

}  // namespace mlxk
