#include "cli/model_places.h"

namespace mlxk {

std::vector<EnvVariable> model_places(std::vector<EnvVariable> more) {
  std::vector<EnvVariable> rows = {
      {"HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE", "the Hugging Face cache of models"},
      {"HF_HOME", "folder of the Hugging Face tools; its subfolder hub is the cache unless one is named"},
      {"XDG_CACHE_HOME", "folder of caches; without HF_HOME its subfolder huggingface is used"},
      {"MLXK_WORKSPACE_HOME", "the folder of workspaces"}};
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

}  // namespace mlxk
