#include "hub/environment.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "hub/resolve.h"

namespace mlxk {

std::filesystem::path home_folder() {
  if (const char* home = std::getenv("HOME"); home && *home) return home;
  const passwd* user = getpwuid(getuid());
  return user && user->pw_dir ? user->pw_dir : "/";
}

std::optional<std::filesystem::path> environment_path(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  const std::string text = value;
  if (text == "~") return home_folder();
  if (text.substr(0, 2) == "~/") return home_folder() / text.substr(2);
  return text;
}

std::filesystem::path hub_cache_dir() {
  if (const auto cache = environment_path("HF_HUB_CACHE")) return *cache;
  if (const auto home = environment_path("HF_HOME")) return *home / "hub";
  return home_folder() / ".cache" / "huggingface" / "hub";
}

}  // namespace mlxk
