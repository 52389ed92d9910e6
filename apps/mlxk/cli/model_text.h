#pragma once

#include <ctime>
#include <string>

#include "probe/model_entry.h"

namespace mlxk {

/// The cells of `list` and the words of `show` for human readers; safe for a terminal.

/// "just now", "5m ago", "3h ago", "2d ago", then the date.
std::string time_ago(std::time_t then, std::time_t now);

/// Without "mlx-community/" when `shorten`; a workspace by its display name.
std::string name_text(const ModelInfo& info, bool shorten);

/// Seven hex digits of the snapshot, else of the content hash, else "-".
std::string short_hash(const ModelEntry& entry);

/// cache, ws (clean), ws* (modified), ws? (unknown).
std::string source_text(const ModelEntry& entry);

/// ✓ ✗ —
std::string clean_text(const ModelEntry& entry);

/// chat, base+vision, …
std::string type_text(const ModelInfo& info);

/// healthy, healthy* (cannot run), unhealthy.
std::string health_text(const ModelInfo& info);

/// Complete and runnable.
bool is_usable(const ModelInfo& info);

}  // namespace mlxk
