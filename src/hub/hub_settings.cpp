#include "hub/hub_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "hub/environment.h"

namespace mlxk {

namespace {

std::string variable(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value && *value) return value;
  }
  return {};
}

template <class Number>
Number positive(const char* name, Number otherwise) {
  const std::string text = variable({name});
  if (text.empty()) return otherwise;
  Number value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 1) {
    throw Error(ErrorKind::usage, fmt::format("{}: not a positive number: '{}'", name, text));
  }
  return value;
}

/// A token goes into a header. Line ends and white space around it are dropped, as huggingface_hub does; any other
/// control character is refused. Its text is never shown.
std::string clean_token(std::string token, std::string_view source) {
  std::erase_if(token, [](char c) { return c == '\r' || c == '\n'; });
  const auto space = [](char c) { return c == ' ' || c == '\t'; };
  while (!token.empty() && space(token.back())) token.pop_back();
  token.erase(token.begin(), std::find_if_not(token.begin(), token.end(), space));
  const bool bad =
      std::any_of(token.begin(), token.end(), [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; });
  if (bad) throw Error(ErrorKind::usage, fmt::format("{}: the token holds white space or control characters", source));
  return token;
}

std::string find_token() {
  if (environment_flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return {};
  const std::string given = variable({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN"});
  if (std::string token = clean_token(given, "HF_TOKEN"); !token.empty()) return token;
  const fs::path file = environment_path("HF_TOKEN_PATH").value_or(hf_home() / "token");
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return {};
  return clean_token(read_file(file, 4096), file.string());
}

}  // namespace

HubSettings hub_settings() {
  HubSettings settings;
  if (const std::string endpoint = variable({"HF_ENDPOINT"}); !endpoint.empty()) settings.endpoint = endpoint;
  while (settings.endpoint.ends_with('/')) settings.endpoint.pop_back();
  if (!settings.endpoint.starts_with("http://") && !settings.endpoint.starts_with("https://")) {
    throw Error(ErrorKind::usage, "HF_ENDPOINT: not an http or https address");
  }
  const bool has_own = !variable({"HF_HUB_OFFLINE"}).empty();
  settings.offline = environment_flag(has_own ? "HF_HUB_OFFLINE" : "TRANSFORMERS_OFFLINE");
  settings.stall_seconds = positive("HF_HUB_DOWNLOAD_TIMEOUT", settings.stall_seconds);
  settings.answer_seconds = positive("HF_HUB_ETAG_TIMEOUT", settings.answer_seconds);
  settings.tries = positive("MLXK_PULL_TRIES", settings.tries);
  settings.piece_bytes = positive("MLXK_PULL_PIECE_BYTES", settings.piece_bytes);
  settings.token = find_token();
  return settings;
}

std::string without_token(std::string text, const HubSettings& settings) {
  if (settings.token.empty()) return text;
  for (size_t at = 0; (at = text.find(settings.token, at)) != text.npos;) text.replace(at, settings.token.size(), "…");
  return text;
}

}  // namespace mlxk
