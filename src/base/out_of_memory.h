#pragma once

#include <new>
#include <system_error>

namespace mlxk {

/// Whether `error` reports that memory or a thread could not be allocated.
inline bool is_out_of_memory(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return true;
  const auto* failure = dynamic_cast<const std::system_error*>(&error);
  return failure && (failure->code() == std::errc::not_enough_memory ||
                     failure->code() == std::errc::resource_unavailable_try_again);
}

}  // namespace mlxk
