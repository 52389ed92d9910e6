#pragma once

#include <chrono>

namespace mlxk {

/// `time` in seconds.
inline double seconds(std::chrono::steady_clock::duration time) { return std::chrono::duration<double>(time).count(); }

/// The seconds since `start`.
inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return seconds(std::chrono::steady_clock::now() - start);
}

}  // namespace mlxk
