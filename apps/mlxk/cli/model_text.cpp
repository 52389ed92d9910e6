#include "cli/model_text.h"

#include <fmt/format.h>

#include <array>

#include "cli/table.h"

namespace mlxk {

std::string time_ago(std::time_t then, std::time_t now) {
  constexpr std::time_t kMinute = 60, kHour = 60 * kMinute, kDay = 24 * kHour;
  const std::time_t age = now - then;
  if (age < 45) return "just now";
  if (age < 90) return "1m ago";
  if (age < 45 * kMinute) return fmt::format("{}m ago", age / kMinute);
  if (age < 90 * kMinute) return "1h ago";
  if (age < 24 * kHour) return fmt::format("{}h ago", age / kHour);
  if (age < 36 * kHour) return "1d ago";
  if (age < 30 * kDay) return fmt::format("{}d ago", age / kDay);
  std::tm parts{};
  localtime_r(&then, &parts);
  std::array<char, 40> date{};
  std::strftime(date.data(), date.size(), "%Y-%m-%d", &parts);
  return date.data();
}

std::string name_text(const ModelInfo& info, bool shorten) {
  constexpr std::string_view kCommunity = "mlx-community/";
  std::string_view name = info.ref.display_name.empty() ? info.ref.name : info.ref.display_name;
  if (shorten && info.ref.cached && name.starts_with(kCommunity)) name.remove_prefix(kCommunity.size());
  return printable(name);
}

std::string short_hash(const ModelEntry& entry) {
  constexpr std::string_view kPrefix = "sha256:";
  std::string hash = entry.info.ref.revision.empty() ? entry.content_hash() : entry.info.ref.revision;
  if (hash.starts_with(kPrefix)) hash.erase(0, kPrefix.size());
  return hash.empty() ? "-" : printable(hash.substr(0, 7));
}

std::string source_text(const ModelEntry& entry) {
  if (entry.info.ref.cached) return "cache";
  switch (entry.clean) {
    case Cleanliness::clean: return "ws";
    case Cleanliness::modified: return "ws*";
    case Cleanliness::unknown: return "ws?";
  }
  return "ws?";
}

std::string clean_text(const ModelEntry& entry) {
  if (entry.clean == Cleanliness::unknown) return "—";
  return entry.clean == Cleanliness::clean ? "✓" : "✗";
}

std::string type_text(const ModelInfo& info) {
  return info.kind + (info.is_vision ? "+vision" : "") + (info.is_audio && info.kind != "audio" ? "+audio" : "");
}

std::string health_text(const ModelInfo& info) {
  return !info.healthy ? "unhealthy" : is_usable(info) ? "healthy" : "healthy*";
}

bool is_usable(const ModelInfo& info) { return info.healthy && info.reason.empty(); }

}  // namespace mlxk
