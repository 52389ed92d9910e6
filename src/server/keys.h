#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/guard.h"

namespace mlxk {

/// Who comes with a key, and what the key allows. The key itself is kept as its SHA-256 only.
struct ApiKey {
  std::string id;  // its name, else "key-" and the first digits of its hash
  bool inference = false, admin = false;
  std::array<unsigned char, 32> digest{};

  bool allows(Scope scope) const { return scope == Scope::admin ? admin : inference; }
};

/// The keys of a server. Immutable, any thread.
class KeyRing {
 public:
  /// Reads lines of `key`, `name:key` or `name:key:scopes` (inference, admin, both by a comma; inference when absent);
  /// `#` begins a comment. Keys are hidden from logs from then on. Throws invalid naming `origin` and line, never a
  /// key.
  void add_lines(std::string_view text, std::string_view origin);

  bool empty() const { return keys_.empty(); }
  size_t size() const { return keys_.size(); }
  /// The key that `secret` is, or null; in the same time whatever it is.
  const ApiKey* find(std::string_view secret) const;

 private:
  void add(std::string_view line, std::string_view place);

  std::vector<ApiKey> keys_;
};

/// The keys of `file` (empty: none) and of MLXK_API_KEY and MLXK_API_KEYS (separated by blanks). Throws io, invalid; a
/// file that others can read is named in a warning log.
KeyRing read_keys(const std::string& file);

}  // namespace mlxk
