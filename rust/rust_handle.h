#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "mlxk_rust.h"

namespace mlxk {

/// Owns what the Rust library hands out.
template <auto Free>
struct RustFree {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
template <typename T, auto Free>
using RustPtr = std::unique_ptr<T, RustFree<Free>>;

/// Text of the Rust library; frees it.
class RustText {
 public:
  RustText() = default;
  RustText(const RustText&) = delete;
  RustText& operator=(const RustText&) = delete;
  ~RustText() { mlxk_text_free(text_); }
  mlxk_text* out() { return &text_; }
  std::string str() const { return text_.data ? std::string(text_.data, text_.size) : std::string(); }

 private:
  mlxk_text text_{};
};

/// Throws `kind` with `[place] <text>` when a call failed; a caught panic says so.
inline void check_rust(int status, const RustText& error, ErrorKind kind, std::string_view place) {
  if (status == MLXK_OK) return;
  const std::string text = status == MLXK_PANIC ? "broken data: " + error.str() : error.str();
  throw Error(kind, "[" + std::string(place) + "] " + text);
}

}  // namespace mlxk
