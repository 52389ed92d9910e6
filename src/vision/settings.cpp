#include "vision/settings.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "json/member.h"

namespace mlxk {

namespace {

namespace fs = std::filesystem;

Json object_of(const fs::path& path) {
  std::error_code none;
  if (!fs::exists(path, none)) return Json::object();
  Json json = read_json(path);
  if (!json.is_object()) throw Error(ErrorKind::bad_model, fmt::format("[{}] is not a JSON object", path.string()));
  return json;
}

Json member_of(const Json& object, const char* key) {
  const Json& member = value_at(object, key);
  return member.is_object() ? member : Json::object();
}

/// The settings of the image processor: a separate file, or a part of processor_config.json.
Settings image_settings(const fs::path& dir, const Json& processor) {
  const fs::path own = dir / "preprocessor_config.json";
  std::error_code none;
  if (!fs::exists(own, none) && value_at(processor, "image_processor").is_object())
    return {member_of(processor, "image_processor"), (dir / "processor_config.json").string() + "] image_processor"};
  return {object_of(own), own.string() + "]"};
}

std::optional<int> whole_number(const Json& value) {
  if (value.is_number_integer() || value.is_number_unsigned()) {
    const auto number = value.get<double>();
    if (std::abs(number) < 2e9) return static_cast<int>(number);
  } else if (value.is_number_float() && value.get<double>() == std::floor(value.get<double>()) &&
             std::abs(value.get<double>()) < 2e9) {
    return static_cast<int>(value.get<double>());
  }
  return std::nullopt;
}

}  // namespace

void Settings::fail(const std::string& key, const std::string& problem) const {
  throw Error(ErrorKind::bad_model, fmt::format("[{} {}: {}", file_, key, problem));
}

const Json& Settings::json(const char* key) const { return value_at(object_, key); }

bool Settings::has(const char* key) const { return !json(key).is_null(); }

Settings Settings::inner(const char* key) const { return {member_of(object_, key), fmt::format("{} {}.", file_, key)}; }

int Settings::whole(const char* key, int fallback, int least, int most) const {
  if (!has(key)) return fallback;
  const auto number = whole_number(json(key));
  if (!number || *number < least || *number > most)
    fail(key, fmt::format("must be a whole number from {} to {}, is {}", least, most, json(key).dump()));
  return *number;
}

double Settings::real(const char* key, double fallback) const {
  if (!has(key)) return fallback;
  if (!json(key).is_number() || !std::isfinite(json(key).get<double>()))
    fail(key, "must be a number, is " + json(key).dump());
  return json(key).get<double>();
}

bool Settings::flag(const char* key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!json(key).is_boolean()) fail(key, "must be true or false, is " + json(key).dump());
  return json(key).get<bool>();
}

std::string Settings::text(const char* key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  if (!json(key).is_string()) fail(key, "must be a string, is " + json(key).dump());
  return json(key).get<std::string>();
}

std::array<double, 3> Settings::color(const char* key, const std::array<double, 3>& fallback) const {
  if (!has(key)) return fallback;
  const Json& value = json(key);
  if (value.is_number() && std::isfinite(value.get<double>())) return {value, value, value};
  if (!value.is_array() || value.size() != 3) fail(key, "must be three numbers, is " + value.dump());
  std::array<double, 3> color{};
  for (size_t c = 0; c < 3; ++c) {
    if (!value[c].is_number() || !std::isfinite(value[c].get<double>()))
      fail(key, "must be three numbers, is " + value.dump());
    color[c] = value[c].get<double>();
  }
  return color;
}

Filter Settings::filter(Filter fallback) const {
  return static_cast<Filter>(whole("resample", static_cast<int>(fallback), 0, 5));
}

Size Settings::size(const char* key, Size fallback) const {
  const Json& value = json(key);
  if (value.is_null()) return fallback;
  if (!value.is_object()) {
    const int side = whole(key, 0, 1, 1 << 16);
    return {side, side};
  }
  const Settings size = inner(key);
  for (const char* edge : {"shortest_edge", "longest_edge"}) {
    if (!size.has(edge)) continue;
    const int side = size.whole(edge, 0, 1, 1 << 16);
    return {side, side};
  }
  if (!size.has("width") || !size.has("height")) return fallback;
  return {size.whole("width", 0, 1, 1 << 16), size.whole("height", 0, 1, 1 << 16)};
}

int Settings::whole_in(const char* key, const char* member, int fallback, int least, int most) const {
  if (json(key).is_object()) return inner(key).whole(member, fallback, least, most);
  return whole(key, fallback, least, most);
}

ProcessorFiles::ProcessorFiles(const fs::path& dir)
    : config(object_of(dir / "config.json"), (dir / "config.json").string() + "]"),
      vision(config.inner("vision_config")),
      image(Json::object(), ""),
      processor(object_of(dir / "processor_config.json"), (dir / "processor_config.json").string() + "]") {
  image = image_settings(dir, object_of(dir / "processor_config.json"));
}

}  // namespace mlxk
