#include "server/routes.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "server/health.h"
#include "server/openai/endpoints.h"

namespace mlxk {

namespace {
// a context of a million tokens is about 5 MB; the rest is for tools and schemas
constexpr size_t kPromptBytes = 32 << 20;
constexpr size_t kChatBytes = 72 << 20;  // images of 50 MB in base64
constexpr size_t kSmallBytes = 64 << 10;
constexpr size_t kFormBytes = 1 << 20;
constexpr const char* kNoSpeech = "Speaking is not built into this server.";
constexpr const char* kNoImages = "Images are not built into this server.";

constexpr ApiRoute kRoutes[] = {
    {"GET", "/", Scope::inference, 0, Immediate{show_welcome}},
    {"GET", "/health", Scope::inference, 0, Immediate{show_health}},
    {"GET", "/ready", Scope::inference, 0, Immediate{show_ready}},
    {"GET", "/metrics", Scope::inference, 0, Immediate{show_metrics}},
    {"POST", "/v1/chat/completions", Scope::inference, kChatBytes, Streamed{chat_completions}},
    {"POST", "/v1/estimate", Scope::inference, kChatBytes, Streamed{estimate}},
    {"POST", "/v1/completions", Scope::inference, kPromptBytes, Streamed{completions}},
    {"GET", "/v1/models", Scope::inference, 0, Prepared{list_models}},
    {"GET", "/v1/models/{id}", Scope::inference, 0, Prepared{show_model}},
    {"POST", "/v1/models/load", Scope::admin, kSmallBytes, Waiting{load_model}},
    {"POST", "/v1/models/unload", Scope::admin, kSmallBytes, Prepared{unload_model}},
    {"POST", "/tokenize", Scope::inference, kPromptBytes, Waiting{tokenize}},
    {"POST", "/detokenize", Scope::inference, kPromptBytes, Waiting{detokenize}},
    {"POST", "/apply-template", Scope::inference, kPromptBytes, Waiting{apply_template}},
    {"GET", "/version", Scope::inference, 0, Immediate{show_version}},
    {"GET", "/openapi.json", Scope::inference, 0, Prepared{show_openapi}},
    {"POST", "/v1/embeddings", Scope::inference, kPromptBytes, Streamed{embeddings}},
    {"POST", "/embed", Scope::inference, kPromptBytes, Streamed{tei_embed}},
    {"POST", "/embed_sparse", Scope::inference, kPromptBytes, Streamed{tei_embed_sparse}},
    {"POST", "/rerank", Scope::inference, kPromptBytes, Streamed{rerank}},
    {"POST", "/v1/rerank", Scope::inference, kPromptBytes, Streamed{rerank}},
    {"POST", "/v2/rerank", Scope::inference, kPromptBytes, Streamed{rerank}},
    {"POST", "/reranking", Scope::inference, kPromptBytes, Streamed{rerank}},
    {"POST", "/v1/classify", Scope::inference, kPromptBytes, Streamed{classify_texts}},
    {"POST", "/v1/audio/transcriptions", Scope::inference, kFormBytes, Uploaded{transcriptions}},
    {"POST", "/v1/audio/translations", Scope::inference, kFormBytes, Uploaded{translations}},
    {"GET", "/v1/realtime", Scope::inference, 0, Socketed{realtime}},
    {"POST", "/v1/audio/speech", Scope::inference, 0, Unbuilt{kNoSpeech}},
    {"POST", "/v1/images/generations", Scope::inference, 0, Unbuilt{kNoImages}},
    {"POST", "/v1/images/edits", Scope::inference, 0, Unbuilt{kNoImages}},
    {"POST", "/v1/images/variations", Scope::inference, 0, Unbuilt{kNoImages}},
};

/// The value of {…} if `pattern` matches `path`; empty if the pattern has none.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
  const size_t brace = pattern.find('{');
  if (brace == std::string_view::npos) return pattern == path ? std::optional<std::string_view>("") : std::nullopt;
  if (path.size() <= brace || path.substr(0, brace) != pattern.substr(0, brace)) return std::nullopt;
  return path.substr(brace);
}
/// The Levenshtein distance.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t k = 0; k < b.size(); ++k) {
      const size_t changed = diagonal + (a[i] == b[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({changed, row[k] + 1, diagonal + 1});
    }
  }
  return row.back();
}
}  // namespace

std::span<const ApiRoute> routes() { return kRoutes; }

RouteMatch match_route(std::string_view method, std::string_view path) {
  RouteMatch result;
  if (method == "HEAD") method = "GET";  // transport omits the body
  for (const ApiRoute& route : kRoutes) {
    const auto name = match(route.pattern, path);
    if (!name) continue;
    if (route.method == method) {
      result.route = &route;
      result.name = *name;
      return result;
    }
    if (!result.allowed.empty()) result.allowed += ", ";
    result.allowed += std::string_view(route.method) == "GET" ? "GET, HEAD" : route.method;
  }
  return result;
}

std::string similar_path(std::string_view path) {
  constexpr std::string_view kVersion = "/v1";
  constexpr size_t kLongest = 64;
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (path.size() <= 1 || path.size() > kLongest) return {};
  std::string best;
  size_t least = path.size() / 3 + 1;
  for (const ApiRoute& route : kRoutes) {
    const std::string_view pattern = route.pattern;
    if (pattern.size() <= 1 || pattern.find('{') != pattern.npos) continue;
    size_t distance = edit_distance(path, pattern);
    if (pattern.starts_with(kVersion)) distance = std::min(distance, edit_distance(path, pattern.substr(3)));
    if (pattern.starts_with(path) && pattern[path.size()] == '/') distance = 1;
    if (distance < least) {
      least = distance;
      best = pattern;
    }
  }
  return best;
}

}  // namespace mlxk
