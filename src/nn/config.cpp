#include "nn/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "json/json.h"

namespace mlxk {

Config::Config(Json json, std::string place)
    : json_(std::make_shared<const Json>(std::move(json))), place_(std::move(place)) {}

const Json* Config::find(const char* key) const {
  auto it = json_->find(key);
  return it == json_->end() || it->is_null() ? nullptr : &*it;
}

Error Config::bad(const std::string& key, const std::string& what) const {
  // Names the value as well, unless `what` does.
  constexpr size_t kShown = 80;
  const Json* value = find(key.c_str());
  std::string got = value && what.find("got ") == what.npos ? ", got " + value->dump(-1, ' ', true) : "";
  if (got.size() > kShown) got.replace(kShown, got.size(), "…");
  return Error(ErrorKind::bad_model, fmt::format("[{}] {} {}{}", place_, key, what, got));
}

int64_t Config::integer(const char* key, int64_t low, int64_t high) const {
  const Json* value = find(key);
  if (!value) throw bad(key, "is missing");
  if (!value->is_number_integer()) throw bad(key, fmt::format("must be a whole number, got {}", value->dump()));
  bool huge = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(std::numeric_limits<int64_t>::max());
  if (huge || value->get<int64_t>() < low || value->get<int64_t>() > high) {
    throw bad(key, fmt::format("must be in [{}, {}], got {}", low, high, value->dump()));
  }
  return value->get<int64_t>();
}

int64_t Config::integer_or(const char* key, int64_t fallback, int64_t low, int64_t high) const {
  return has(key) ? integer(key, low, high) : fallback;
}

double Config::number(const char* key, double low, double high) const {
  const Json* value = find(key);
  if (!value) throw bad(key, "is missing");
  if (!value->is_number()) throw bad(key, fmt::format("must be a number, got {}", value->dump()));
  double number = value->get<double>();
  if (!(number >= low && number <= high)) {
    throw bad(key, fmt::format("must be in [{}, {}], got {}", low, high, value->dump()));
  }
  return number;
}

double Config::number_or(const char* key, double fallback, double low, double high) const {
  return has(key) ? number(key, low, high) : fallback;
}

bool Config::flag_or(const char* key, bool fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) throw bad(key, fmt::format("must be true or false, got {}", value->dump()));
  return value->get<bool>();
}

std::string Config::text_or(const char* key, const std::string& fallback) const {
  const Json* value = find(key);
  if (!value) return fallback;
  if (!value->is_string()) throw bad(key, fmt::format("must be a string, got {}", value->dump()));
  return value->get<std::string>();
}

Config Config::object(const char* key) const {
  const Json* value = find(key);
  if (!value) throw bad(key, "is missing");
  if (!value->is_object()) throw bad(key, "must be an object");
  return Config(*value, place_ + " " + key);
}

const char* Config::present(std::initializer_list<const char*> keys) const {
  const auto found = std::find_if(keys.begin(), keys.end(), [&](const char* key) { return has(key); });
  return found == keys.end() ? *keys.begin() : *found;
}

}  // namespace mlxk
