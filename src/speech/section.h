#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>

#include "base/error.h"
#include "json/json.h"
#include "json/member.h"

namespace mlxk {

/// A section of a JSON file; errors name it and the key. A null value counts as absent.
struct Section {
  const Json& json;
  std::string place;

  Error bad(const char* key, const std::string& what) const {
    return Error(ErrorKind::bad_model, fmt::format("[{}] {} {}", place, key, what));
  }
  double number(const char* key, double fallback, double low, double high) const {
    const Json& value = value_at(json, key);
    if (value.is_null()) return fallback;
    const double x = value.is_number() ? value.get<double>() : NAN;
    if (x >= low && x <= high) return x;
    throw bad(key, fmt::format("must be a number from {} to {}, got {}", low, high, value.dump()));
  }
  int whole(const char* key, int fallback, int low, int high) const {
    const double x = number(key, fallback, low, high);
    if (x != std::floor(x)) throw bad(key, fmt::format("must be a whole number, got {}", x));
    return static_cast<int>(x);
  }
  /// Throws unsupported unless the value is absent or one of `built_in`.
  void only(const char* key, std::initializer_list<Json> built_in) const {
    const Json& value = value_at(json, key);
    if (value.is_null() || std::find(built_in.begin(), built_in.end(), value) != built_in.end()) return;
    throw Error(ErrorKind::unsupported, fmt::format("[{}] {} {} is not built in", place, key, value.dump()));
  }
};

}  // namespace mlxk
