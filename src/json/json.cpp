#include "json/json.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"

namespace mlxk {

Json parse_json(std::string_view text, std::string_view place, int max_depth) {
  const auto depth_check = [&](int depth, Json::parse_event_t event, Json&) {
    if (depth > max_depth && (event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start)) {
      throw Error(ErrorKind::bad_model, fmt::format("{}: nested deeper than {} levels", place, max_depth));
    }
    return true;
  };
  try {
    return Json::parse(text, depth_check);
  } catch (const Json::parse_error& e) {
    throw Error(ErrorKind::bad_model, fmt::format("{}: invalid JSON at byte {}", place, e.byte));
  }
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

}  // namespace mlxk
