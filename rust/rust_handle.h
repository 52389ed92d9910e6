#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop.h"
#include "mlxk_rust.h"

namespace mlxk {

/// Deleter of objects that the Rust library allocates.
template <auto Free>
struct RustFree {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
template <typename T, auto Free>
using RustPtr = std::unique_ptr<T, RustFree<Free>>;

/// Owns a text that the Rust library allocates.
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

/// Calls check_stop() on behalf of the Rust library and keeps the exception that it throws.
class RustStop {
 public:
  RustStop() = default;
  RustStop(const RustStop&) = delete;
  RustStop& operator=(const RustStop&) = delete;
  mlxk_stop get() { return {this, ask}; }
  /// Rethrows the exception that stopped the work, if any.
  void rethrow() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  static int ask(void* self) {
    try {
      check_stop();
      return 0;
    } catch (...) {
      static_cast<RustStop*>(self)->failure_ = std::current_exception();
      return 1;
    }
  }
  std::exception_ptr failure_;
};

/// Throws an Error of `kind` with the message `[place] <text>` if `status` is not MLXK_OK. The text of a caught panic
/// begins with "broken data".
inline void check_rust(int status, const RustText& error, ErrorKind kind, std::string_view place) {
  if (status == MLXK_OK) return;
  if (status == MLXK_MEMORY) kind = ErrorKind::memory;
  const std::string text = status == MLXK_PANIC ? "broken data: " + error.str() : error.str();
  throw Error(kind, "[" + std::string(place) + "] " + text);
}

}  // namespace mlxk
