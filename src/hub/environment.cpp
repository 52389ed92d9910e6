#include "hub/environment.h"

#include <pwd.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>

#include "hub/resolve.h"

namespace mlxk {

namespace {

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

std::string expand_user(std::string text) {
  if (text.empty() || text.front() != '~') return text;
  const size_t end = std::min(text.find('/'), text.size());
  const std::string user = text.substr(1, end - 1);
  std::string home;
  if (user.empty()) {
    home = home_folder().string();
  } else if (const passwd* entry = getpwnam(user.c_str()); entry && entry->pw_dir) {
    home = entry->pw_dir;
  } else {
    return text;
  }
  while (!home.empty() && home.back() == '/') home.pop_back();
  home += text.substr(end);
  return home.empty() ? "/" : home;
}

std::string expand_variables(std::string text) {
  for (size_t at = 0; (at = text.find('$', at)) != text.npos;) {
    const bool braced = at + 1 < text.size() && text[at + 1] == '{';
    const size_t name = at + (braced ? 2 : 1);
    size_t end = name;
    if (braced) {
      end = text.find('}', name);
      if (end == text.npos) break;
    } else {
      while (end < text.size() && is_word(text[end])) ++end;
    }
    const char* value = end > name ? std::getenv(text.substr(name, end - name).c_str()) : nullptr;
    const size_t after = braced ? end + 1 : end;
    if (!value) {
      at = std::max(after, at + 1);
      continue;
    }
    const std::string inserted = value;
    text.replace(at, after - at, inserted);
    at += inserted.size();  // a variable's value is not expanded again
  }
  return text;
}

}  // namespace

std::filesystem::path home_folder() {
  if (const char* home = std::getenv("HOME"); home && *home) return home;
  const passwd* user = getpwuid(getuid());
  return user && user->pw_dir ? user->pw_dir : "/";
}

std::string expand_path(std::string text) { return expand_variables(expand_user(std::move(text))); }

std::optional<std::filesystem::path> environment_path(const char* name) {
  const char* value = std::getenv(name);
  if (!value || !*value) return std::nullopt;
  return expand_path(value);
}

bool environment_flag(const char* name) {
  std::string value = std::getenv(name) ? std::getenv(name) : "";
  for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

std::filesystem::path hf_home() {
  if (const auto home = environment_path("HF_HOME")) return *home;
  if (const auto cache = environment_path("XDG_CACHE_HOME")) return *cache / "huggingface";
  return home_folder() / ".cache" / "huggingface";
}

std::filesystem::path hub_cache_dir() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto cache = environment_path(name)) return *cache;
  }
  return hf_home() / "hub";
}

}  // namespace mlxk
