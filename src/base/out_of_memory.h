#pragma once

#include <new>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace mlxk {

/// Whether `error` reports that memory or a thread could not be allocated.
inline bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return true;
  if (const auto* failure = dynamic_cast<const std::system_error*>(&error)) {
    return failure->code() == std::errc::not_enough_memory ||
           failure->code() == std::errc::resource_unavailable_try_again;
  }
  // libmlx's errors, CUDA's among them, differ in their text only.
  const std::string_view what = error.what();
  return dynamic_cast<const std::runtime_error*>(&error) &&
         (what.ends_with("failed: out of memory") || what.find("Unable to allocate") != what.npos);
}

}  // namespace mlxk
