#include "cli/model_argument.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/file.h"
#include "cli/table.h"
#include "cli/this_program.h"
#include "hub/resolve.h"
#include "hub/workspace.h"
#include "run/gguf_import.h"

namespace mlxk {

namespace {

constexpr const char* kQuickstartModel = "SmolLM2-135M-Instruct-4bit";

std::string as_path(const std::string& word) { return "./" + word; }

/// The folder named `word` that takes precedence over another model of that name.
void report_both(const std::string& word, const ModelRef& taken) {
  std::error_code error;
  if (fs::equivalent(word, taken.path, error)) return;
  fmt::print(stderr, "Note: '{}' means {} {}; for the folder in the current directory, write {}\n", printable(word),
             taken.cached ? "the cached model" : "the workspace", printable(taken.name), printable(as_path(word)));
}

}  // namespace

std::string model_argument(const std::string& word) {
  std::error_code error;
  if (word.empty() || is_path_spec(word) || !fs::is_directory(word, error)) return word;
  try {
    const ModelRef found = resolve_model(word);
    if (is_workspace(word)) report_both(word, found);
    return word;
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::ambiguous && is_workspace(word)) {
      throw Error(e.kind(), e.what(), e.hint() + "\n" + as_path(word));
    }
    const bool nothing =
        e.kind() == ErrorKind::not_found || e.kind() == ErrorKind::no_revision || e.kind() == ErrorKind::invalid;
    if (nothing && is_workspace(word)) return as_path(word);
    if (e.kind() != ErrorKind::not_found) throw;
    throw Error(e.kind(), e.what(), fmt::format("{} is a folder, but it has no config.json", as_path(word)));
  }
}

bool is_gguf_argument(const std::string& word) {
  std::error_code error;
  if (!fs::is_regular_file(word, error)) return false;
  if (fs::path(word).extension() == ".gguf") return true;
  char magic[4] = {};
  std::ifstream(word, std::ios::binary).read(magic, sizeof magic);
  return std::string_view(magic, sizeof magic) == "GGUF";
}

std::string runnable_argument(const std::string& word) {
  return is_gguf_argument(word) ? import_gguf(word).string() : model_argument(word);
}

std::string default_model() {
  if (const char* named = std::getenv("MLXK_DEFAULT_MODEL"); named && *named) return named;
  const auto home = workspace_home();
  if (home && is_workspace(*home / kQuickstartModel)) return kQuickstartModel;
  for (const auto& ref : list_models(kQuickstartModel)) {
    if (ref.cached && ref.name.ends_with(std::string("/") + kQuickstartModel)) return ref.name;
  }
  // build/release/mlxk and build/models, where quickstart puts them.
  const fs::path built = this_program().parent_path().parent_path() / "models" / kQuickstartModel;
  return is_workspace(built) ? built.string() : "";
}

}  // namespace mlxk
