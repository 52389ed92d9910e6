#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>

#include "base/error.h"
#include "json/json_fwd.h"

namespace mlxk {

/// The largest width of a layer that a config.json may ask for.
inline constexpr int kMaxWidth = 1 << 20;

/// Reads config.json's values and checks their limits; every error names `place` and the key. A null value counts as
/// absent.
class Config {
 public:
  Config(Json json, std::string place);

  /// The value of `key`, or nullptr.
  const Json* find(const char* key) const;
  bool has(const char* key) const { return find(key) != nullptr; }

  /// An integer in [low, high]; throws bad_model if it is absent, of another type or out of range.
  int64_t integer(const char* key, int64_t low, int64_t high) const;
  int64_t integer_or(const char* key, int64_t fallback, int64_t low, int64_t high) const;
  /// A finite number in [low, high].
  double number(const char* key, double low, double high) const;
  double number_or(const char* key, double fallback, double low, double high) const;
  bool flag_or(const char* key, bool fallback) const;
  std::string text_or(const char* key, const std::string& fallback) const;
  /// The object at `key` as a Config of its own; throws bad_model if it is absent or not an object.
  Config object(const char* key) const;

  /// The error for `key`: `[place] key what, got value`; the value is left out if there is none or `what` names it.
  Error bad(const std::string& key, const std::string& what) const;
  const Json& json() const { return *json_; }
  const std::string& place() const { return place_; }
  /// The first of `keys` that has a value, else the first of all, which errors then name.
  const char* present(std::initializer_list<const char*> keys) const;

 private:
  std::shared_ptr<const Json> json_;
  std::string place_;
};

}  // namespace mlxk
