#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace mlxk {

/// A hash over bytes that come in pieces.
class Digest {
 public:
  enum class Kind { sha1, sha256 };
  explicit Digest(Kind kind);
  Digest& add(std::string_view bytes);
  /// Lower-case hex; ends the digest.
  std::string hex();

 private:
  std::shared_ptr<void> context_;
};

}  // namespace mlxk
