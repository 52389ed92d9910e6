#pragma once

#include <string_view>

namespace mlxk::log {

enum class Level { debug, info, warn, error, off };

/// Diagnostics at or above `level` go to stderr as `[LEVEL] text`; the default is warn. Any thread.
void set_level(Level level);

void debug(std::string_view text);
void info(std::string_view text);
void warn(std::string_view text);
void error(std::string_view text);

}  // namespace mlxk::log
