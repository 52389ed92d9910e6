#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/guard.h"

namespace mlxk {

/// An API key and its scopes. Only the SHA-256 of the secret is stored.
struct ApiKey {
  std::string id;  // the name, or "key-" and the first digits of the hash
  bool inference = false, admin = false;
  std::array<unsigned char, 32> digest{};

  bool allows(Scope scope) const { return scope == Scope::admin ? admin : inference; }
};

/// The keys of a server. Immutable, any thread.
class KeyRing {
 public:
  /// Reads lines of `key`, `name:key` or `name:key:scopes` (inference, admin, or both with a comma; default:
  /// inference);
  /// `#` begins a comment. The keys are hidden from logs from then on. Throws invalid naming `origin` and line, never
  /// a key.
  void add_lines(std::string_view text, std::string_view origin);

  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }
  /// Finds the key with this secret, or null; in constant time.
  const ApiKey* find(std::string_view secret) const;

 private:
  void add(std::string_view line, std::string_view place);

  std::vector<ApiKey> keys_;
};

/// Reads the keys in `file` (empty: none), MLXK_API_KEY and MLXK_API_KEYS (separated by blanks). Throws io, invalid;
/// warns if other users can read the file.
KeyRing read_keys(const std::string& file);

}  // namespace mlxk
