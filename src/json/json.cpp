#include "json/json.h"

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "json/non_finite.h"

namespace mlxk {

namespace {

// An ordered object compares each new key with all earlier ones: hostile text could take hours.
constexpr uint64_t kMaxKeys = 20'000;                   // of one object
constexpr uint64_t kMaxKeyComparisons = 1'000'000'000;  // of all objects together: about two seconds

/// Scans the text before anything is built from it and checks the limits of depth and keys; throws bad_model. (The
/// library's own parser callback takes time quadratic in the length of a list.)
class Guard : public nlohmann::json_sax<Json> {
 public:
  Guard(std::string_view place, int max_depth) : place_(place), max_depth_(static_cast<size_t>(max_depth)) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t&) override {
    if (++keys_.back() > kMaxKeys) fail(fmt::format("more than {} keys in an object", kMaxKeys));
    if ((comparisons_ += keys_.back()) > kMaxKeyComparisons) fail("too many objects of many keys");
    return true;
  }
  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception&) override {
    fail(fmt::format("invalid JSON at byte {}", byte));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorKind::bad_model, fmt::format("{}: {}", place_, what));
  }
  bool open() {
    if (keys_.size() > max_depth_) fail(fmt::format("nested deeper than {} levels", max_depth_));
    keys_.push_back(0);
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }

  std::string_view place_;
  size_t max_depth_;
  std::vector<uint64_t> keys_;  // so far, of each open object
  uint64_t comparisons_ = 0;
};

}  // namespace

Json parse_json(std::string_view text, std::string_view place, int max_depth) {
  std::string quoted;
  if (text.find("NaN") != text.npos || text.find("Infinity") != text.npos) text = quoted = quote_non_finite(text);
  Guard guard(place, max_depth);
  Json::sax_parse(text, &guard);
  Json value = Json::parse(text);
  if (!quoted.empty()) restore_non_finite(value);
  return value;
}

std::string dump_json(const Json& value, int indent) {
  Json marked = value;
  mark_non_finite(marked);
  return unquote_non_finite(marked.dump(indent)) + "\n";
}

Json read_json(const std::filesystem::path& path) { return parse_json(read_file(path), path.string()); }

}  // namespace mlxk
